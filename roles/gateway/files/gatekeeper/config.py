# SPDX-License-Identifier: GPL-3.0-or-later
"""The gatekeeper's files: settings read at start, keys and slots followed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from airlock import api_keys, canonical
from airlock.errors import AirlockError
from airlock.files import read_limited

_LIMIT = 4 * 1024 * 1024
# The name becomes a part of a path.
_RELEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_KINDS = ("current", "previous", "fallback", "canary")

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """Limits; times in whole seconds."""

    max_concurrent: int
    max_concurrent_per_key: int
    body_timeout: int
    idle_timeout: int
    answer_timeout: int
    drain_timeout: int


@dataclass(frozen=True)
class Slot:
    """Where a service runs now, what it does (``chat`` or ``embedding``), which of its slots that
    is (current, one that stands in for it, or canary), and what kind of server runs there."""

    release: str
    mode: str
    kind: str
    backend: str


class Followed(Generic[T]):
    """A parsed file that is read again when another file has taken its place.

    A file that cannot be read or parsed is an error until it is replaced: what it said before
    may have been revoked since. One that is not there says ``absent``, or is an error without it.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], absent: T | None = None):
        self._path = path
        self._parse = parse
        self._absent = absent
        self._identity: tuple[int, ...] = ()
        self._value: T | AirlockError = AirlockError(f"{path}: not read yet.")

    def get(self) -> T:
        """Return what the file says now. Raises AirlockError and OSError."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            if self._absent is None:
                raise
            return self._absent
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


class Keys:
    """The keys of the owner, and the one that is there only while a release is evaluated."""

    def __init__(self, directory: Path):
        self._lasting = _keys(directory / "keys.json", None)
        self._passing = _keys(directory / "evaluation.json", {})

    def get(self) -> dict[str, api_keys.KeyRecord]:
        """Return the keys by id. Raises AirlockError and OSError."""
        return {**self._passing.get(), **self._lasting.get()}


def _keys(
    path: Path, absent: dict[str, api_keys.KeyRecord] | None
) -> Followed[dict[str, api_keys.KeyRecord]]:
    return Followed(path, lambda data: api_keys.load(data, where=str(path)), absent)


def follow_slots(directory: Path) -> Followed[dict[str, Slot]]:
    """Return the slots by the name that a key may open: the service, or ``<service>@canary``."""
    slots = directory / "slots.json"
    return Followed(slots, lambda data: _slots(data, str(slots)))


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
    found = {}
    for name, entry in services.items():
        if not isinstance(entry, dict) or entry.get("current") is not None:
            found[name] = _slot(entry, _answering(entry), f"{where}: {name}")
        if isinstance(entry, dict) and entry.get("canary") is not None:
            found[f"{name}@canary"] = _slot(entry, "canary", f"{where}: {name}")
    return found


def _answering(entry: Any) -> Any:
    standin = entry.get("standin") if isinstance(entry, dict) else None
    return standin.get("slot") if isinstance(standin, dict) else "current"


def _slot(entry: Any, kind: Any, where: str) -> Slot:
    known = isinstance(entry, dict) and kind in _KINDS
    release, mode = (entry.get(kind), entry.get("mode")) if known else ("", "")
    backend = entry.get("backend", "llama_cpp") if known else ""
    if (
        not isinstance(release, str)
        or not _RELEASE.fullmatch(release)
        or not isinstance(mode, str)
        or not isinstance(backend, str)
    ):
        raise AirlockError.refuse(
            "this is not a slot", expected=f"a release as {kind}, and a mode", where=where
        )
    return Slot(release, mode, kind, backend)
