# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of API keys in a site: ``<id>.key`` (the key) and ``<id>.json`` (its record).

It holds exactly the wanted keys: one that is no longer wanted is removed, so that naming it again
later makes a new one and does not bring the old one back. A revoked key leaves its record, so that
it stays revoked until it is rotated. A record whose key was removed once its holder had it stays
good, too.

Another key waits in ``<id>.key.next`` until its record is written, and is renamed then: wherever a
run stops, the next one finds either key with the record that belongs to it.

``serial`` counts the changes. A host takes no records with a lower number than it has (see
`managed_files`): a run that looked before a revocation and places what it saw after it takes nothing back. Where the
directory comes from a backup, it goes on from the highest number of the hosts.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from . import api_keys, canonical, placed_keys
from .errors import AirlockError
from .files import alone, read_limited, write_atomic
from .key_scopes import Scope
from .key_serial import FILE_MODE, Serial
from .placed_keys import Placed

_MAX_BYTES = 64 * 1024
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Wanted:
    """A key that the owner asks for."""

    scope: Scope
    expires_days: int


@dataclass(frozen=True)
class Orders:
    """Ids of the keys that get another secret now, those that are taken from their holder now, and
    how long the secret before a rotation is still good. While it is, ``again`` makes another all the same.
    With ``renew`` a key that has lived half of its life gets another secret, too; the one before it stays good until
    its own end."""

    rotate: frozenset[str] = frozenset()
    revoke: frozenset[str] = frozenset()
    overlap: timedelta = timedelta(0)
    again: bool = False
    renew: bool = False


@dataclass
class Result:
    """The records of the wanted keys, sorted by id, with the number of their last change, why anything
    changed, and why an order was not carried out."""

    serial: int = 0
    records: list[api_keys.KeyRecord] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


def converge(
    directory: str,
    wanted: Mapping[str, Wanted],
    now: datetime,
    *,
    orders: Orders = Orders(),
    placed: Placed | None = None,
    check: bool = False,
) -> Result:
    """Bring ``directory`` to ``wanted`` and carry out ``orders``; with ``check`` only predict.

    A key stays as it is while its record and its validity are in order; another scope or another
    number of days change the record only. A key that a host of ``placed`` refuses by now, because it is revoked or
    replaced, is revoked here: the directory comes from a backup. Runs at once take turns. Raises AirlockError and
    OSError.
    """
    for key_id in wanted:
        api_keys.check_id(key_id)
    _check_orders(orders, wanted)
    placed = placed or Placed()
    result = Result()
    _protect(directory, _DIRECTORY_MODE, result, check, make=True)
    with contextlib.nullcontext() if check else alone(directory):
        serial = Serial(directory, placed.serial, check=check)
        for key_id in sorted(wanted):
            files = _Files(directory, key_id, result, serial, check, placed.of(key_id))
            result.records += files.converge(wanted[key_id], orders, now)
        for name in _unwanted(directory, wanted):
            serial.advance()
            result.reasons.append(f"{name}: the key is no longer wanted")
            if not check:
                os.unlink(os.path.join(directory, name))
        result.serial = serial.number
    return result


def _check_orders(orders: Orders, wanted: Mapping[str, Wanted]) -> None:
    for key_id in sorted(orders.rotate | orders.revoke):
        if key_id not in wanted:
            raise AirlockError.refuse(
                "there is no such key",
                expected=" or ".join(sorted(wanted)),
                found=repr(api_keys.check_id(key_id)),
                where="airlock_api_keys",
            )
        if key_id in orders.rotate & orders.revoke:
            raise AirlockError.refuse(
                "a key cannot be rotated and revoked at once", where=f"airlock_api_keys.{key_id}"
            )


class _Files:
    """The files of one key."""

    def __init__(
        self,
        directory: str,
        key_id: str,
        result: Result,
        serial: Serial,
        check: bool,
        placed: Mapping[str, api_keys.KeyRecord],
    ):
        self._id = key_id
        self._placed = placed
        self._key = os.path.join(directory, f"{key_id}.key")
        self._next = os.path.join(directory, f"{key_id}.key.next")
        self._record = os.path.join(directory, f"{key_id}.json")
        self._result = result
        self._serial = serial
        self._check = check

    def converge(self, wanted: Wanted, orders: Orders, now: datetime) -> list[api_keys.KeyRecord]:
        """Return the record that the host gets; none for a key that was revoked unknown."""
        record = self._read_record()
        key = self._settled_key(record)
        if record is not None and record.revoked is None:
            record = self._struck(record, now)
        if self._id in orders.revoke:
            return self._revoke(record, now)
        if record is not None and record.revoked and self._id not in orders.rotate:
            self._forget_key()
            return [record]
        if record is None:
            missing = "json" if key else "key"
            reason = f"{self._id}.{missing} is missing, a new key is made"
            return [self._make(wanted, now, reason)]
        if key and not api_keys.matches(key, record):
            raise self._strange()
        current = self._current(record, wanted, orders.overlap, now)
        # A longer life is none for a key that has ended: nobody looked after it since.
        end = min(record.not_after, current.not_after)
        if now >= api_keys.parse_time(end, where=self._record):
            return [self._make(wanted, now, f"the key expired at {end} and is replaced")]
        if self._id in orders.rotate and not self._was_rotated(current, orders, now):
            if key and current.retiring is not None and not orders.again:
                return [self._shorten(current, current.retiring, orders.overlap, now)]
            return [self._rotate(current, wanted, orders.overlap, now)]
        if orders.renew and current.retiring is None and self._is_half_over(current, now):
            return [self._renew(current, wanted, now)]
        for path in (self._key, self._record):
            _protect(path, FILE_MODE, self._result, self._check)
        if current != record:
            self._say("scope, lifetime or overlap differ, the key stays")
            self._write_record(current)
        return [current]

    def _struck(self, record: api_keys.KeyRecord, now: datetime) -> api_keys.KeyRecord:
        """Return the record, revoked where a host refuses it or is about to."""
        for host, there in self._placed.items():
            why = placed_keys.objection(record, there, now)
            if not why:
                continue
            self._say(
                f"{host} {why}, so it is revoked here; {self._record} is older than that host, and rotate.yml "
                "makes another"
            )
            record = replace(record, revoked=api_keys.format_time(now), retiring=None)
            self._write_record(record)
            break
        return record

    def _current(
        self, record: api_keys.KeyRecord, wanted: Wanted, overlap: timedelta, now: datetime
    ) -> api_keys.KeyRecord:
        """Return the record as it is wanted, without an overlap that is over."""
        start = api_keys.parse_time(record.not_before, where=self._record)
        life = timedelta(days=wanted.expires_days)
        end, retiring = api_keys.expiry(start, wanted.expires_days), record.retiring
        if retiring is not None and retiring.until > end and now < start + life:
            # Otherwise the secret before outlives this one, and its overlap keeps it from renewal. Who has it gets
            # an overlap, and this one what is left after that.
            most = min(overlap, (start + life - now) / 2)
            until = api_keys.format_time(max(start + life / 2, now + most))
            self._say(f"it lives shorter now, and the one before it is good until {until}")
            retiring = replace(retiring, until=until)
        if retiring is not None and retiring.until <= api_keys.format_time(now):
            retiring = None
        return replace(record, scope=wanted.scope, not_after=end, retiring=retiring)

    def _was_rotated(self, current: api_keys.KeyRecord, orders: Orders, now: datetime) -> bool:
        """Tell whether an order to rotate is the same one again, and say so.

        Whoever repeats it after a host did not answer would otherwise end the key that people use. The overlap of a
        renewal is longer than that of an order.
        """
        if current.retiring is None or orders.again:
            return False
        if current.retiring.until > api_keys.format_time(now + orders.overlap):
            return False
        self._result.unchanged.append(
            f"{self._id}: the key was rotated already, and the one before it is good until "
            f"{current.retiring.until}; -e again=true ends that one now and makes another"
        )
        return True

    def _shorten(
        self,
        record: api_keys.KeyRecord,
        retiring: api_keys.Retiring,
        overlap: timedelta,
        now: datetime,
    ) -> api_keys.KeyRecord:
        """Return the record of a key that was renewed and that nobody has yet: the one before it ends sooner."""
        until = api_keys.format_time(now + overlap)
        self._say(
            f"the key was renewed and waits to be handed over, the one before it is good until {until}"
        )
        record = replace(record, retiring=replace(retiring, until=until))
        self._write_record(record)
        return record

    def _rotate(
        self, record: api_keys.KeyRecord, wanted: Wanted, overlap: timedelta, now: datetime
    ) -> api_keys.KeyRecord:
        if record.revoked:
            return self._make(wanted, now, "the key was revoked and is replaced")
        until = min(api_keys.format_time(now + overlap), record.not_after)
        return self._make(
            wanted,
            now,
            f"the key is rotated, the one before it is good until {until}",
            api_keys.Retiring(record.sha256, until),
        )

    def _is_half_over(self, record: api_keys.KeyRecord, now: datetime) -> bool:
        start, end = (
            api_keys.parse_time(moment, where=self._record)
            for moment in (record.not_before, record.not_after)
        )
        return now >= start + (end - start) / 2

    def _renew(
        self, record: api_keys.KeyRecord, wanted: Wanted, now: datetime
    ) -> api_keys.KeyRecord:
        return self._make(
            wanted,
            now,
            "the key has lived half of its life and is renewed, the one before it is good until "
            f"{record.not_after}",
            api_keys.Retiring(record.sha256, record.not_after),
        )

    def _make(
        self,
        wanted: Wanted,
        now: datetime,
        reason: str,
        retiring: api_keys.Retiring | None = None,
    ) -> api_keys.KeyRecord:
        text, record = api_keys.generate(
            self._id, wanted.scope.services, days=wanted.expires_days, now=now
        )
        record = replace(record, scope=wanted.scope, retiring=retiring)
        self._say(reason)
        if not self._check:
            write_atomic(self._next, f"{text}\n".encode("ascii"), mode=FILE_MODE)
        self._write_record(record)
        if not self._check:
            os.replace(self._next, self._key)
        return record

    def _revoke(self, record: api_keys.KeyRecord | None, now: datetime) -> list[api_keys.KeyRecord]:
        if record is None:
            self._say("there is no record of it here, the host takes no such key from now on")
            self._forget_key()
            return []
        if not record.revoked:
            self._say("the key is revoked")
            record = replace(record, revoked=api_keys.format_time(now), retiring=None)
            self._write_record(record)
        self._forget_key()
        return [record]

    def _forget_key(self) -> None:
        if os.path.lexists(self._key):
            self._say("the file of a revoked key is removed")
            if not self._check:
                os.unlink(self._key)

    def _read_record(self) -> api_keys.KeyRecord | None:
        try:
            document: Any = canonical.loads(
                read_limited(self._record, _MAX_BYTES), where=self._record
            )
        except FileNotFoundError:
            return None
        record = api_keys.from_dict(document, where=self._record)
        if record.id != self._id:
            raise self._strange()
        return record

    def _settled_key(self, record: api_keys.KeyRecord | None) -> str:
        """Return the key, "" where there is none, and settle what a run that stopped has left.

        The key that waits counts from the moment at which the record is its own.
        """
        waiting = _text(self._next)
        if not waiting:
            return _text(self._key)
        if record is not None and api_keys.matches(waiting, record):
            self._say("what an interrupted run began is finished")
            if not self._check:
                os.replace(self._next, self._key)
            return waiting
        self._say("a key that an interrupted run never put to use is removed")
        if not self._check:
            os.unlink(self._next)
        return _text(self._key)

    def _strange(self) -> AirlockError:
        return AirlockError.refuse(
            "the key and its record do not belong together",
            where=self._record,
            fix=f"remove both {self._id}.key and {self._id}.json to get a new key",
        )

    def _write_record(self, record: api_keys.KeyRecord) -> None:
        if not self._check:
            data = canonical.dumps(record.as_dict()) + b"\n"
            write_atomic(self._record, data, mode=FILE_MODE)

    def _say(self, reason: str) -> None:
        """Tell what is about to change."""
        self._serial.advance()
        self._result.reasons.append(f"{self._id}: {reason}")


def _text(path: str) -> str:
    """Return what a file says, "" where there is none."""
    try:
        return read_limited(path, _MAX_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""


def _unwanted(directory: str, wanted: Mapping[str, Wanted]) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:  # check mode on a new site
        return []
    ids = {stem for stem, ext in map(os.path.splitext, names) if ext == ".json"} - set(wanted)
    ours = {f"{key_id}.{ending}" for key_id in ids for ending in ("json", "key", "key.next")}
    return [name for name in names if name in ours]


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
