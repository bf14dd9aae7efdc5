# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit trail on the disk, as its only writer has it."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import room
from airlock import audit_chain, audit_key, audit_segments
from airlock.audit_chain import Chain
from airlock.errors import AirlockError
from airlock.files import fsync_directory, read_limited

_LOOK_SECONDS = 0.2
_DAY = 86_400


class Unwritable(Exception):
    """The trail cannot take a record, and has taken none."""


class Trail:
    """Appends records, moves complete segments aside and lets old ones go."""

    def __init__(
        self, directory: Path, key: Path, *, segment_bytes: int, keep_days: int, keep_bytes: int
    ):
        """Go on where the trail ends. Raises AirlockError and OSError."""
        self._directory = directory
        self._live = directory / audit_segments.LIVE
        self._segment_bytes = segment_bytes
        self._keep_seconds = keep_days * _DAY
        self._keep_bytes = keep_bytes
        self._key = os.open(key, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        held = audit_key.load(self._key, str(key))
        self.name = held.trail
        self._saved = held.seq
        self._saver = ThreadPoolExecutor(1)
        self._saving: Future[int] | None = None
        self._unsafe = ""
        self._looked = 0.0
        self._descriptor = -1
        self._day = ""
        self._first = 0
        self._chain, torn, missing = self._recover(held)
        self._open()
        self.append([{"kind": "started", "trail": self.name, "torn": torn, "missing": missing}])

    @property
    def head(self) -> tuple[int, str]:
        """Return number and SHA-256 of the last record."""
        return self._chain.seq - 1, self._chain.prev

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Write all of the records or none. Raises Unwritable; AirlockError for one that cannot be written."""
        if self._unsafe:
            raise Unwritable(self._unsafe)
        chain = self._chain
        before = Chain(chain.seq, chain.key, chain.prev)
        moment = audit_chain.timestamp(time.time())
        try:
            if self._day and self._day != moment[:10]:
                self._rotate()
            lines = b"".join(chain.extend(record, moment) + b"\n" for record in records)
            self._write(lines)
        except BaseException as exc:
            self._chain = before
            if isinstance(exc, OSError):
                raise Unwritable(f"{self._live}: {exc.strerror}") from exc
            raise
        self._first = self._first or before.seq
        self._day = moment[:10]

    def save(self) -> None:
        """Begin to bring what was written to the disk, unless that is going on."""
        if self._saving is not None and not self._saving.done():
            return
        full = False
        try:
            self.saved()
            self._follow_path()
            if full := os.fstat(self._descriptor).st_size >= self._segment_bytes:
                self._rotate()
        except OSError as exc:
            self._unsafe = f"{self._live}: {exc.strerror}"
            print(f"<3>{self._unsafe}", file=sys.stderr)
        chain = self._chain
        if chain.seq > self._saved or self._unsafe:
            held = audit_key.Held(self.name, chain.seq, chain.key)
            self._saving = self._saver.submit(_save, os.dup(self._descriptor), self._key, held)
        if full:
            self.expire()

    def saved(self) -> None:
        """Wait until what was being brought to the disk is there. Raises OSError."""
        saving, self._saving = self._saving, None
        if saving is not None:
            self._saved = saving.result()
            self._unsafe = ""

    def close(self) -> None:
        """Bring everything to the disk. Raises OSError."""
        self.saved()
        self.save()
        self.saved()
        self._saver.shutdown()

    def expire(self) -> None:
        """Let go of the oldest segments that are too old or too much, and say in the trail which and why.

        Too old: so must be the one that follows, for the proof then sees by what is left that all before it was old.
        Too much: all complete segments together are larger than they may be, of which the proof sees by what is left
        that they were. Raises OSError, Unwritable, AirlockError.
        """
        segments = audit_segments.closed(str(self._directory))
        sizes = [os.stat(segment.path).st_size for segment in segments]
        excess = sum(sizes) - self._keep_bytes
        for (segment, following), size in zip(pairwise(segments), sizes, strict=False):
            old = time.time() - os.stat(following.path).st_mtime >= self._keep_seconds
            if not old and excess <= 0:
                return
            number, digest = _last(read_limited(segment.path, audit_segments.MAX_BYTES))
            gone = {"first": segment.first, "last": number, "sha256": digest}
            self.append([{"kind": "expired", **gone, "why": "age" if old else "size"}])
            os.fdatasync(self._descriptor)
            os.unlink(segment.path)
            excess -= size

    def _write(self, lines: bytes) -> None:
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            free, reserve = room.left(self._descriptor)
            if free < reserve:
                raise Unwritable(f"{self._live}: the disk is full")
            self._looked = time.monotonic()
        room.append(self._descriptor, lines)

    def _rotate(self) -> None:
        """Make the growing segment a complete one."""
        if os.fstat(self._descriptor).st_size:
            os.fdatasync(self._descriptor)
            os.rename(self._live, self._directory / audit_segments.closed_name(self._first))
            self._open()
            self._first = 0

    def _follow_path(self) -> None:
        """Open another file when somebody took the growing segment away; the proof will miss its records."""
        mine = os.fstat(self._descriptor)
        if not self._live.exists() or self._live.stat().st_ino != mine.st_ino:
            print(f"<3>{self._live}: it was taken away", file=sys.stderr, flush=True)
            self._open()
            self._first = 0

    def _open(self) -> None:
        """Open the growing segment, made where there is none."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._live, flags, 0o600)
        fsync_directory(str(self._directory))

    def _recover(self, held: audit_key.Held) -> tuple[Chain, int, int]:
        """Return where the trail ends, the bytes of a torn end that were cut off, and how many records miss.

        What was written after the key was last saved is followed with it: nobody else could have
        written that. What does not follow is the torn end that a power cut left.
        """
        data = (
            read_limited(str(self._live), audit_segments.MAX_BYTES) if self._live.exists() else b""
        )
        chain = Chain(held.seq, held.key)
        good, reached, chain.prev = 0, *self._last_closed()
        for line in data.splitlines(keepends=True):
            body = line.rstrip(b"\n")
            try:
                record = audit_chain.parse(body)
                if record["seq"] >= held.seq:
                    chain.follow(body)
                else:
                    chain.prev = hashlib.sha256(body).hexdigest()
            except AirlockError:
                break
            if not line.endswith(b"\n"):
                break
            good, reached = good + len(line), record["seq"]
            self._first = self._first or reached
            self._day = self._day or record["time"][:10]
        if torn := len(data) - good:
            print(
                f"<3>{self._live}: the last {torn} bytes are no records; cut off", file=sys.stderr
            )
            os.truncate(self._live, good)
        missing = chain.seq - 1 - reached
        if missing:
            print(f"<3>{missing} records before {chain.seq} are missing", file=sys.stderr)
        return chain, torn, missing

    def _last_closed(self) -> tuple[int, str]:
        """Return number and SHA-256 of the last record of the complete segments."""
        segments = audit_segments.closed(str(self._directory))
        if not segments:
            return 0, audit_chain.FIRST
        data = read_limited(segments[-1].path, audit_segments.MAX_BYTES)
        return _last(data)


def _last(data: bytes) -> tuple[int, str]:
    line = data.rstrip(b"\n").rpartition(b"\n")[2]
    return int(audit_chain.parse(line)["seq"]), hashlib.sha256(line).hexdigest()


def _save(descriptor: int, key: int, held: audit_key.Held) -> int:
    """Return up to which record everything is on the disk, and older keys forgotten."""
    # In this order: a power cut may take records whose keys are still there, never the other way.
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    audit_key.save(key, held)
    return held.seq
