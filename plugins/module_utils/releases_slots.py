# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots: the pointers from services to releases that the gatekeeper follows.

``/etc/airlock/gateway/slots.json``, canonical JSON::

    {"services": {"chat": {"current": "chat-1a2b3c4d", "previous": "chat-5e6f7a8b", "fallback": null,
                           "canary": null, "mode": "chat", "standin": null}}}

``current`` is what the owner released, and only the owner moves it. When it cannot start, the host
sets ``standin`` to ``{"slot": "previous", "because": "<sentence>"}``: that slot answers meanwhile.
Releases are built in ``canary``, which only a key for ``<service>@canary`` can ask.
"""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import alone, read_limited, write_atomic

PATH = "/etc/airlock/gateway/slots.json"
GROUP = "airlock-gatekeeper"
KINDS = ("current", "previous", "fallback", "canary")
STANDINS = ("previous", "fallback")
"""Slots that may answer for a current release that cannot start, the better one first."""

_LIMIT = 1024 * 1024
_BECAUSE = 1000  # characters
_RELEASE = r"[a-z0-9][a-z0-9-]{0,127}"

Slots = dict[str, dict[str, Any]]
"""Service to ``{"current", "previous", "fallback", "canary", "mode", "standin"}``."""


def load(path: str = PATH) -> Slots:
    """Read the slots; a file that does not exist yet holds none. Raises AirlockError and OSError."""
    try:
        data = read_limited(path, _LIMIT)
    except FileNotFoundError:
        return {}
    entry = schema.fields(canonical.loads(data, where=path), path, required=("services",))
    if not isinstance(entry["services"], dict):
        raise AirlockError.refuse("the slots are not a mapping of services", where=path)
    return {
        service: _parse(slot, f"{path}: {service}") for service, slot in entry["services"].items()
    }


def _parse(value: Any, where: str) -> dict[str, Any]:
    entry = schema.fields(
        value, where, required=("current", "mode"), optional=(*KINDS[1:], "standin")
    )
    slot: dict[str, Any] = {
        kind: schema.text(entry[kind], f"{where}: {kind}", _RELEASE, "chat-1a2b3c4d")
        if kind in entry
        else None
        for kind in KINDS
    }
    slot["mode"] = schema.text(entry["mode"], f"{where}: mode", r"[a-z]+", "chat")
    slot["standin"] = None
    if "standin" in entry:
        standin = schema.fields(entry["standin"], f"{where}: standin", required=("slot", "because"))
        if slot[schema.choice(standin["slot"], f"{where}: standin", STANDINS)] is None:
            raise AirlockError.refuse("the slot that stands in is empty", where=where)
        slot["standin"] = standin
    return slot


def to_bytes(slots: Slots) -> bytes:
    """Return the content of the slot file."""
    return canonical.dumps({"services": slots}) + b"\n"


def save(slots: Slots, path: str = PATH, group: str = GROUP) -> None:
    """Replace the slot file in one rename. Raises OSError."""
    write_atomic(
        path, to_bytes(slots), mode=0o640, uid=os.geteuid(), gid=grp.getgrnam(group).gr_gid
    )


def locked(path: str = PATH) -> contextlib.AbstractContextManager[None]:
    """Keep others who move slots out meanwhile. Raises OSError."""
    return alone(os.path.dirname(path))


# -- moves: each returns the slots after, and leaves those before as they are ----------------------


def keep(slots: Slots, releases: Iterable[Mapping[str, Any]]) -> Slots:
    """Return the slots of the wanted ``releases`` (``service``, ``release``, ``mode``).

    Only a service without a current release gets one. Nothing stands in any more, no canary is
    left, and services that are no longer wanted have no slots.
    """
    return {
        release["service"]: _move(
            slots.get(release["service"])
            or _first(current=release["release"], mode=release["mode"]),
            canary=None,
            standin=None,
        )
        for release in releases
    }


def stage(slots: Slots, release: Mapping[str, Any]) -> Slots:
    """Return the slots with ``release`` as the canary of its service. Raises AirlockError."""
    return _with(slots, release["service"], canary=_same_mode(slots, release)["release"])


def withdraw(slots: Slots, service: str) -> Slots:
    """Return the slots with no canary of ``service``. Raises AirlockError."""
    return _with(slots, service, canary=None)


def promote(slots: Slots, release: Mapping[str, Any]) -> Slots:
    """Return the slots with ``release`` as current; what answered becomes previous.

    What was previous becomes the fallback. A release that cannot start and for which another one
    stands in is no good previous one, so it comes last. Raises AirlockError.
    """
    service = release["service"]
    entry = _of(slots, service)
    name = _same_mode(slots, release)["release"]
    if entry["current"] == name:
        return _with(slots, service, canary=None, standin=None)
    others = dict.fromkeys(
        other
        for other in (answering(entry), *(entry[kind] for kind in ("current", *STANDINS)))
        if other not in (None, name)
    )
    previous, fallback = [*others, None, None][:2]
    return _with(
        slots,
        service,
        current=name,
        previous=previous,
        fallback=fallback,
        canary=None,
        standin=None,
    )


def roll_back(slots: Slots, service: str) -> Slots:
    """Return the slots with current and previous of ``service`` exchanged. Raises AirlockError."""
    entry = _of(slots, service)
    if entry["previous"] is None:
        raise AirlockError.refuse(
            f"the service {service} has no previous release to go back to",
            found=f"only {entry['current']}",
            where=PATH,
            fix="release another one with release.yml",
        )
    return _with(slots, service, current=entry["previous"], previous=entry["current"], standin=None)


def stand_in(slots: Slots, service: str, slot: str, because: str) -> Slots:
    """Return the slots with ``slot`` answering for a current release that cannot start."""
    standin = {"slot": slot, "because": because[:_BECAUSE]}
    return _with(slots, service, standin=standin)


# -- questions -------------------------------------------------------------------------------------


def answering(entry: Mapping[str, Any]) -> str:
    """Return the release that answers for the service of ``entry``."""
    return str(entry[entry["standin"]["slot"] if entry["standin"] else "current"])


def serving(slots: Slots) -> set[str]:
    """Return the releases that have to run: what answers, and canaries."""
    return {answering(entry) for entry in slots.values()} | {
        entry["canary"] for entry in slots.values() if entry["canary"]
    }


def pointed(slots: Slots) -> dict[str, str]:
    """Return every release that some slot points to, with the slot in words."""
    return {
        entry[kind]: f"{kind} of {service}"
        for service, entry in slots.items()
        for kind in reversed(KINDS)
        if entry[kind]
    }


def _of(slots: Slots, service: str) -> dict[str, Any]:
    if service not in slots:
        raise AirlockError.refuse(
            f"the service {service} has no slots",
            found=", ".join(sorted(slots)) or "no service at all",
            where=PATH,
            fix="declare it in airlock_services and run site.yml first",
        )
    return slots[service]


def _same_mode(slots: Slots, release: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``release`` when it does what its service does: clients would not notice else."""
    mode = _of(slots, release["service"])["mode"]
    if release["mode"] != mode:
        raise AirlockError.refuse(
            f"the service {release['service']} is for {mode}",
            found=f"a release for {release['mode']}",
            fix="declare another service for it",
        )
    return release


def _with(slots: Slots, service: str, **changes: Any) -> Slots:
    return {**slots, service: _move(_of(slots, service), **changes)}


def _move(entry: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**entry, **changes}


def _first(**given: Any) -> dict[str, Any]:
    return {**dict.fromkeys(KINDS), "standin": None, **given}
