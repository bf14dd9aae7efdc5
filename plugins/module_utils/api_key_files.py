# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of API keys in a site: ``<id>.key`` (the key) and ``<id>.json`` (its record).

It holds exactly the wanted keys: one that is no longer wanted is removed, so that naming it again
later makes a new one and does not bring the old one back.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from . import api_keys, canonical
from .errors import AirlockError
from .files import read_limited, write_atomic

_MAX_BYTES = 64 * 1024
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Wanted:
    """A key that the owner asks for."""

    services: tuple[str, ...]
    expires_days: int


@dataclass
class Result:
    """The records of the wanted keys, sorted by id, and why anything changed."""

    records: list[api_keys.KeyRecord] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def converge(
    directory: str, wanted: dict[str, Wanted], now: datetime, *, check: bool = False
) -> Result:
    """Bring ``directory`` to ``wanted``; with ``check`` predict and write nothing.

    A key stays as it is while its file, its record and its validity are in order; other services
    or another number of days change the record only. Raises AirlockError and OSError.
    """
    for key_id in wanted:
        api_keys.check_id(key_id)
    result = Result()
    _protect(directory, _DIRECTORY_MODE, result, check, make=True)
    for key_id in sorted(wanted):
        result.records.append(_converge_one(directory, key_id, wanted[key_id], now, result, check))
    for name in _unwanted(directory, wanted):
        result.reasons.append(f"{name}: the key is no longer wanted")
        if not check:
            os.unlink(os.path.join(directory, name))
    return result


def _converge_one(
    directory: str, key_id: str, wanted: Wanted, now: datetime, result: Result, check: bool
) -> api_keys.KeyRecord:
    key_path = os.path.join(directory, f"{key_id}.key")
    record_path = os.path.join(directory, f"{key_id}.json")
    record, flaw = _read(key_path, record_path, key_id)
    if record is not None:
        start = api_keys.parse_time(record.not_before, where=record_path)
        current = replace(
            record,
            services=tuple(sorted(set(wanted.services))),
            not_after=api_keys.expiry(start, wanted.expires_days),
        )
        if now < api_keys.parse_time(current.not_after, where=record_path):
            _protect(key_path, _FILE_MODE, result, check)
            _protect(record_path, _FILE_MODE, result, check)
            if current != record:
                result.reasons.append(f"{key_id}: services or lifetime differ, the key stays")
                if not check:
                    _write_record(record_path, current)
            return current
        flaw = f"the key expired at {current.not_after} and is replaced"
    text, record = api_keys.generate(key_id, wanted.services, days=wanted.expires_days, now=now)
    result.reasons.append(f"{key_id}: {flaw}")
    if not check:
        # The record goes last: a key without a record is made again.
        write_atomic(key_path, f"{text}\n".encode("ascii"), mode=_FILE_MODE)
        _write_record(record_path, record)
    return record


def _read(key_path: str, record_path: str, key_id: str) -> tuple[api_keys.KeyRecord | None, str]:
    """Return the record when both files belong together, else why there is none."""
    try:
        key = read_limited(key_path, _MAX_BYTES).decode("utf-8", "replace").strip()
        document: Any = canonical.loads(read_limited(record_path, _MAX_BYTES), where=record_path)
        record = api_keys.from_dict(document, where=record_path)
    except FileNotFoundError as exc:
        return None, f"{os.path.basename(str(exc.filename))} is missing, a new key is made"
    if record.id != key_id or not api_keys.matches(key, record):
        raise AirlockError.refuse(
            "the key and its record do not belong together",
            where=record_path,
            fix=f"remove both {key_id}.key and {key_id}.json to get a new key",
        )
    return record, ""


def _write_record(path: str, record: api_keys.KeyRecord) -> None:
    write_atomic(path, canonical.dumps(record.as_dict()) + b"\n", mode=_FILE_MODE)


def _unwanted(directory: str, wanted: dict[str, Wanted]) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:  # check mode on a new site
        return []
    stems = {stem for stem, ext in map(os.path.splitext, names) if ext == ".json"} - set(wanted)
    return [
        name
        for name in names
        if name.endswith((".key", ".json")) and name.rsplit(".", 1)[0] in stems
    ]


def _protect(path: str, mode: int, result: Result, check: bool, *, make: bool = False) -> None:
    try:
        now = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        if make:
            result.reasons.append(f"{path}: the directory is missing")
            if not check:
                os.makedirs(path, mode)
        return
    if stat.S_ISDIR(now.st_mode) != make or stat.S_ISLNK(now.st_mode):
        raise AirlockError.refuse(
            "something else is in the way", expected="a directory" if make else "a file", where=path
        )
    if stat.S_IMODE(now.st_mode) != mode:
        result.reasons.append(f"{path}: the mode is not {mode:04o}")
        if not check:
            os.chmod(path, mode)
