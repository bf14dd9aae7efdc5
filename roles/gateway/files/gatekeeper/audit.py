# SPDX-License-Identifier: GPL-3.0-or-later
"""One JSON line per request, refused and aborted ones too, in a file that only grows.

The file may be moved away at any time; the next line starts a new one.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

# What is left to the rest of the host: the smaller of the two.
_RESERVE_BYTES = 1024**3
_RESERVE_SHARE = 20
_TAIL_BYTES = 64 * 1024


class AuditError(Exception):
    """The trail cannot be written, so no request may be served."""


@dataclass
class Entry:
    """What is known of one request; None is what was never reached."""

    id: str
    method: str
    client: str | None = None
    key: str | None = None
    route: str | None = None
    service: str | None = None
    release: str | None = None
    slot: str | None = None  # anything but current wants to be looked at
    status: int = 0
    reason: str = "ok"
    prompt_sha256: str | None = None
    prompt_bytes: int = 0
    response_sha256: str | None = None
    response_bytes: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: int | None = None
    ms: int = 0
    started: float = field(default_factory=time.monotonic)

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the request came in."""
        return round((time.monotonic() - self.started) * 1000)


class Trail:
    """The audit file of this process."""

    def __init__(self, path: Path):
        self._path = path
        self._descriptor = -1
        self._owed: list[Entry] = []
        self._sequence = self._last_sequence()

    def ready(self) -> None:
        """Make sure that the next line can be written. Raises AuditError."""
        try:
            self._open()
            room = os.fstatvfs(self._descriptor)
        except OSError as exc:
            raise AuditError(str(exc)) from exc
        if room.f_bavail * room.f_frsize < min(
            _RESERVE_BYTES, room.f_blocks * room.f_frsize // _RESERVE_SHARE
        ):
            raise AuditError(f"{self._path}: the disk is full")
        while self._owed:
            self._append(self._owed[0])
            self._owed.pop(0)

    def write(self, entry: Entry) -> None:
        """Append the line of a finished request. Raises AuditError."""
        self.ready()
        self._append(entry)

    def owe(self, entry: Entry) -> None:
        """Keep a line that could not be written; nothing is served before it has been."""
        self._owed.append(entry)

    def _append(self, entry: Entry) -> None:
        values = asdict(entry)
        del values["started"]
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        record = {"time": moment.replace("+00:00", "Z"), "seq": self._sequence + 1, **values}
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_END)
            if os.write(self._descriptor, line) != len(line):
                os.ftruncate(self._descriptor, end)
                raise AuditError(f"{self._path}: the disk is full")
        except OSError as exc:
            raise AuditError(str(exc)) from exc
        self._sequence += 1

    def _open(self) -> None:
        """Open the file, again when it is no longer the one at the path."""
        if self._descriptor >= 0:
            mine = os.fstat(self._descriptor)
            try:
                now = os.stat(self._path)
            except FileNotFoundError:
                now = None
            if now and (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino):
                return
            os.close(self._descriptor)
            self._descriptor = -1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o640)

    def _last_sequence(self) -> int:
        try:
            with open(self._path, "rb") as handle:
                handle.seek(max(0, os.fstat(handle.fileno()).st_size - _TAIL_BYTES))
                lines = handle.read(_TAIL_BYTES).splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                return int(json.loads(line)["seq"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that a power cut tore
        return 0
