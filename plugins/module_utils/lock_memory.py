# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of its lock, so that nobody can give it an older one.

A signature says that a lock was once accepted, not that it still is. So the host keeps the place of the
last one in its chain, readable by root alone: ``{"key": "<hex>", "lineage": "<uuid>", "serial": 3}``,
where ``key`` is the SHA-256 of the public key that signed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import read_limited

PATH = "/var/lib/airlock/lock.json"
_MAX_BYTES = 4096
_MAX_SERIAL = 2**31
_RELOCK = "or accept the host as it is with -e airlock_relock=true -e \"reason='...'\""


@dataclass(frozen=True)
class Place:
    """The place of a lock: chain, number in it, and who signed it."""

    key: str
    lineage: str
    serial: int

    def document(self) -> dict[str, Any]:
        """Return it as a value for canonical JSON."""
        return asdict(self)


def parse(value: Any, where: str) -> Place:
    """Read a place. Raises AirlockError."""
    entry = schema.fields(value, where, required=("key", "lineage", "serial"))
    return Place(
        schema.sha256(entry["key"], f"{where}: key"),
        schema.text(entry["lineage"], f"{where}: lineage", r"[a-z0-9-]{1,64}", "a UUID"),
        schema.integer(entry["serial"], f"{where}: serial", 1, _MAX_SERIAL),
    )


def read(path: str = PATH) -> Place | None:
    """Return what this host remembers, None when it never accepted a lock. Raises AirlockError, OSError."""
    try:
        return parse(canonical.loads(read_limited(path, _MAX_BYTES), where=path), path)
    except FileNotFoundError:
        return None


def objection(place: Place | None, remembered: Place | None, where: str) -> AirlockError | None:
    """Return why a host that remembers ``remembered`` does not take the lock at ``place``, or None.

    ``place`` is None when the site has no lock. A host that remembers nothing takes any.
    """
    if remembered is None:
        return None
    last = f"serial {remembered.serial} of lineage {remembered.lineage}"
    if place is None:
        return AirlockError.refuse(
            "the host has accepted a lock that the site directory does not have",
            expected=last,
            found="no lock",
            where=where,
            fix=f"restore state/ from a backup, {_RELOCK}",
        )
    if place.lineage != remembered.lineage or place.serial < remembered.serial:
        older = place.lineage == remembered.lineage
        return AirlockError.refuse(
            f"the lock is {'older than the one' if older else 'of another lineage than the one'} "
            "that the host has accepted",
            expected=last,
            found=f"serial {place.serial} of lineage {place.lineage}",
            where=where,
            fix=f"restore the newest lock from a backup, {_RELOCK}",
        )
    if place.key != remembered.key:
        return AirlockError.refuse(
            "the lock is signed by another key than the host has accepted",
            expected=f"key {remembered.key[:16]}",
            found=f"key {place.key[:16]}",
            where=where,
            fix=f"restore state/signing.key from a backup, {_RELOCK}",
        )
    return None


def next_place(
    previous: Mapping[str, Any] | None, remembered: Place | None, fresh: str
) -> tuple[str, int]:
    """Return lineage and serial of the lock that comes after both; ``fresh`` names a new lineage."""
    known: Iterable[tuple[str, int]] = (
        *([(remembered.lineage, remembered.serial)] if remembered else []),
        *([(previous["lineage"], previous["serial"])] if previous else []),
    )
    lineage = next((name for name, _serial in known), fresh)
    return lineage, max((serial for name, serial in known if name == lineage), default=0) + 1
