# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that the slots of a host point to, and what each of them needs there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from . import accounts, manifests, releases_slots
from .errors import AirlockError
from .files import read_limited
from .releases import LaunchConfig, files_of
from .releases_slots import Slots

_LIMIT = 16 * 1024 * 1024


def standins(slots: Slots) -> list[dict[str, str]]:
    """Return every service that is not answered by its current release, with ``service``,
    ``current``, ``release`` that answers, its ``slot``, ``because``, and all of it as a ``sentence``."""
    return [
        {
            "service": service,
            "current": entry["current"],
            "release": releases_slots.answering(entry),
            **entry["standin"],
            "sentence": f"The service {service} is answered by its {entry['standin']['slot']} release "
            f"{releases_slots.answering(entry)}, because {entry['current']} failed: "
            f"{entry['standin']['because']}",
        }
        for service, entry in sorted(slots.items())
        if entry["standin"]
    ]


def users(slots: Slots, root: str = "") -> dict[str, int]:
    """Return the index of the user of each release that a slot points to, from its drop-in.

    A release whose drop-in is not there or does not say is left out; ``root`` is for tests.
    """
    found = {}
    for release in releases_slots.pointed(slots):
        text = _read(root + files_of(release)[2]).decode("utf-8", "replace")
        names = re.findall(r"^User=(\S+)$", text, re.MULTILINE)
        for index in range(accounts.RELEASES):
            if names == [accounts.of_release(index)]:
                found[release] = index
    return found


def running(slots: Slots, root: str = "") -> list[dict[str, Any]]:
    """Return the releases that answer, sorted by name, in the form of ``releases.resolve``: ``service``,
    ``release``, ``user``, ``artifact`` (``path``) and ``config``.

    One that is not placed is left out. Raises AirlockError and OSError.
    """
    index = users(slots, root)
    found = []
    for service, entry in sorted(slots.items()):
        release = releases_slots.answering(entry)
        path = files_of(release)[0]
        data = _read(root + path)
        if data and release in index:
            config = LaunchConfig.parse(data, path)
            found.append(
                {
                    "service": service,
                    "release": release,
                    "user": accounts.of_release(index[release]),
                    "artifact": {"path": config.runtime},
                    "config": config.document(),
                }
            )
    return found


def refuse_to_remove(slots: Slots, kept: Iterable[str], root: str = "") -> None:
    """Refuse when a release that a slot points to needs a model file that is not ``kept``.

    ``kept`` are paths in the store. Raises AirlockError that names release, slot and file.
    """
    kept = set(kept)
    for release, slot in reversed(releases_slots.pointed(slots).items()):
        path = files_of(release)[1]
        data = _read(root + path)
        if not data:
            continue  # there is nothing of it left to protect
        manifest: Any = manifests.parse(data, path)
        for file in manifest.files:
            if file.stored not in kept:
                raise AirlockError.refuse(
                    f"the model {manifest.name} is not removed",
                    expected="a model that no slot needs",
                    found=f"release {release} is {slot}",
                    where=file.stored,
                    fix="run without pruning, or release until it has left the slots",
                )


def _read(path: str) -> bytes:
    try:
        return read_limited(path, _LIMIT)
    except FileNotFoundError:
        return b""
