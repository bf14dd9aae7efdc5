# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots: the pointers from services to releases that the gatekeeper follows.

``/etc/airlock/gateway/slots.json``, canonical JSON::

    {"services": {"chat": {"current": "chat-1a2b3c4d", "previous": null, "mode": "chat"}}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import read_limited

PATH = "/etc/airlock/gateway/slots.json"
_LIMIT = 1024 * 1024

Slots = dict[str, dict[str, Any]]
"""Service to ``{"current", "previous", "mode"}``."""


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
        service: {
            "current": slot.get("current"),
            "previous": slot.get("previous"),
            "mode": slot.get("mode"),
        }
        for service, slot in entry["services"].items()
    }


def to_bytes(slots: Slots) -> bytes:
    """Return the content of the slot file."""
    return canonical.dumps({"services": slots}) + b"\n"


def advance(slots: Slots, releases: Iterable[Mapping[str, Any]]) -> Slots:
    """Return the slots once ``releases`` (``service``, ``release``, ``mode``) are current.

    What was current becomes previous; services that are no longer wanted have no slot.
    """
    after: Slots = {}
    for release in releases:
        before = slots.get(release["service"], {"current": None, "previous": None})
        same = before["current"] == release["release"]
        after[release["service"]] = {
            "current": release["release"],
            "previous": before["previous"] if same else before["current"],
            "mode": release["mode"],
        }
    return after


def pointed(slots: Slots) -> set[str]:
    """Return every release that some slot points to."""
    return {slot[kind] for slot in slots.values() for kind in ("current", "previous") if slot[kind]}
