# SPDX-License-Identifier: GPL-3.0-or-later
"""The gatekeeper's files: settings and routes read at start, keys and slots followed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from airlock import api_keys, canonical, request_policy
from airlock.errors import AirlockError
from airlock.files import read_limited

_LIMIT = 4 * 1024 * 1024
# The name becomes a part of a path.
_RELEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """Limits; times in whole seconds."""

    max_concurrent: int
    max_concurrent_per_key: int
    body_timeout: int
    idle_timeout: int
    drain_timeout: int


@dataclass(frozen=True)
class Slot:
    """Where a service runs now and what it does (``chat`` or ``embedding``)."""

    release: str
    mode: str


class Followed(Generic[T]):
    """A parsed file that is read again when another file has taken its place.

    A file that cannot be read or parsed is an error until it is replaced: what it said before
    may have been revoked since.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]):
        self._path = path
        self._parse = parse
        self._identity: tuple[int, ...] = ()
        self._value: T | AirlockError = AirlockError(f"{path}: not read yet.")

    def get(self) -> T:
        """Return what the file says now. Raises AirlockError and OSError."""
        now = os.stat(self._path)
        identity = (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size)
        if identity != self._identity:
            try:
                self._value = self._parse(read_limited(str(self._path), _LIMIT))
            except AirlockError as exc:
                self._value = exc
            self._identity = identity
        if isinstance(self._value, AirlockError):
            raise self._value
        return self._value


def follow(
    directory: Path,
) -> tuple[Followed[dict[str, api_keys.KeyRecord]], Followed[dict[str, Slot]]]:
    """Return the keys by id and the slots by service of a configuration directory."""
    keys, slots = directory / "keys.json", directory / "slots.json"
    return (
        Followed(keys, lambda data: api_keys.load(data, where=str(keys))),
        Followed(slots, lambda data: _slots(data, str(slots))),
    )


def load_catalogue(path: Path) -> request_policy.Catalogue:
    """Return the route catalogue. Raises AirlockError and OSError."""
    where = str(path)
    # Bounds may be floats, which canonical.loads would refuse.
    document = canonical.parse(read_limited(where, _LIMIT), where=where)
    return request_policy.Catalogue.from_document(document, where=where)


def load_settings(path: Path) -> Settings:
    """Return the limits. Raises AirlockError and OSError."""
    where = str(path)
    document = canonical.loads(read_limited(where, _LIMIT), where=where)
    names = {field.name for field in fields(Settings)}
    if not isinstance(document, dict) or set(document) != names:
        raise AirlockError.refuse(
            "these are not the gatekeeper's settings",
            expected=", ".join(sorted(names)),
            where=where,
        )
    if not all(_is_count(value) for value in document.values()):
        raise AirlockError.refuse("a limit is not a positive whole number", where=where)
    return Settings(**document)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _slots(data: bytes, where: str) -> dict[str, Slot]:
    document = canonical.loads(data, where=where)
    services: Any = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict):
        raise AirlockError.refuse("the slot file names no services", where=where)
    return {
        name: _slot(entry, f"{where}: {name}")
        for name, entry in services.items()
        if not isinstance(entry, dict) or entry.get("current") is not None
    }


def _slot(entry: Any, where: str) -> Slot:
    release, mode = (
        (entry.get("current"), entry.get("mode")) if isinstance(entry, dict) else ("", "")
    )
    if not isinstance(release, str) or not _RELEASE.fullmatch(release) or not isinstance(mode, str):
        raise AirlockError.refuse(
            "this is not a slot", expected="a release as current, and a mode", where=where
        )
    return Slot(release, mode)
