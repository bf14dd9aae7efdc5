# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of its lock, so that nobody can give it an older one.

A signature says that a lock was once accepted, not that it still is. So the host keeps the place of the
last one in its chain, readable by root alone::

    {"digest": "<hex>", "key": "<hex>", "lineage": "<uuid>", "serial": 3}

``digest`` is the SHA-256 of the lock and ``key`` that of the public key that signed it. The ledger of the
site has the same of every lock, which is what counts for a machine that remembers nothing.
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
RESTORE = (
    "restore state/ from a backup of the site directory, "
    "or accept the host as it is with -e airlock_relock=true -e \"reason='...'\""
)


@dataclass(frozen=True)
class Place:
    """The place of a lock: chain, number in it, who signed it, and what it is.

    ``digest`` is None in the memory of a host that accepted its lock before that was kept.
    """

    key: str
    lineage: str
    serial: int
    digest: str | None = None

    def __str__(self) -> str:
        content = self.digest[:16] if self.digest else "of old"
        return (
            f"serial {self.serial} of lineage {self.lineage}, sha256 {content}, key {self.key[:16]}"
        )

    def document(self) -> dict[str, Any]:
        """Return it as a value for canonical JSON."""
        return asdict(self)


def parse(value: Any, where: str) -> Place:
    """Read a place. Raises AirlockError."""
    entry = schema.fields(value, where, required=("key", "lineage", "serial"), optional=("digest",))
    digest = entry.get("digest")
    return Place(
        schema.sha256(entry["key"], f"{where}: key"),
        schema.text(entry["lineage"], f"{where}: lineage", r"[a-z0-9-]{1,64}", "a UUID"),
        schema.integer(entry["serial"], f"{where}: serial", 1, _MAX_SERIAL),
        None if digest is None else schema.sha256(digest, f"{where}: digest"),
    )


def read(path: str = PATH) -> Place | None:
    """Return what this host remembers, None when it never accepted a lock. Raises AirlockError, OSError."""
    try:
        return parse(canonical.loads(read_limited(path, _MAX_BYTES), where=path), path)
    except FileNotFoundError:
        return None


def objection(
    place: Place | None, known: Place | None, where: str, *, ledger: bool = False
) -> AirlockError | None:
    """Return why who knows of the lock at ``known`` does not take the one at ``place``, or None.

    ``place`` is None when the site has no lock. A host that remembers nothing takes any, and one that
    remembers an older lock a newer one; the ledger (``ledger``) has the newest.
    """
    if known is None:
        return None
    said = "the ledger names" if ledger else "the host has accepted"
    if place is None:
        what = f"{said} a lock that the site directory does not have"
    elif found := _difference(place, known, newest=ledger):
        what = f"the lock is {found} the one that {said}"
    else:
        return None
    return AirlockError.refuse(
        what, expected=str(known), found=str(place or "no lock"), where=where, fix=RESTORE
    )


def _difference(place: Place, known: Place, *, newest: bool) -> str | None:
    same_serial = place.serial == known.serial
    differences = {
        "of another lineage than": place.lineage != known.lineage,
        "older than": place.serial < known.serial,
        "newer than": newest and place.serial > known.serial,
        "signed by another key than": place.key != known.key,
        "of other content and the same serial as": same_serial
        and known.digest not in (None, place.digest),
    }
    return next((words for words, differs in differences.items() if differs), None)


def next_place(
    known: Iterable[Place | None], previous: Mapping[str, Any] | None, fresh: str
) -> tuple[str, int]:
    """Return lineage and serial of the lock that comes after all that are known.

    ``known`` are the places that somebody outside the lock names, the most trusted first, ``previous``
    is the lock itself; ``fresh`` names a new lineage.
    """
    numbers = [(place.lineage, place.serial) for place in known if place]
    if previous:
        numbers.append((previous["lineage"], previous["serial"]))
    lineage = numbers[0][0] if numbers else fresh
    return lineage, max((serial for name, serial in numbers if name == lineage), default=0) + 1
