# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes records from the gatekeeper and answers for each whether it was written.

A frame from the gatekeeper is two lengths (4 bytes each, big endian), then a record as JSON and, for a request
whose texts are kept, a content as JSON. The answer to a connection is one byte for the policy (``d``, ``r``, ``f``),
the answer to each frame one byte, in order: ``+`` written, ``-`` not. A frame that is none ends the connection.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airlock import canonical
from airlock.errors import AirlockError
from content import Content
from counts import Counts
from trail import Trail, Unwritable

_LENGTHS = struct.Struct(">II")
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_MAX_RECORD = 32 * 1024
_MAX_CONTENT = 32 * 1024 * 1024
_MAX_OPEN = 4096  # requests of one connection
_MAX_CONNECTIONS = 8
_CHUNK = 256 * 1024
_KINDS = ("open", "done", "missed")

_SAVE_SECONDS = 1.0
_COUNT_SECONDS = 60.0
_CHECKPOINT_SECONDS = 60.0
_CHECKPOINT_RECORDS = 1000
_EXPIRE_SECONDS = 3600.0


class NotAFrame(Exception):
    """What came is no frame; nothing after it can be one either."""


@dataclass
class Peer:
    """A connection: what came and is no whole frame yet, and the requests that it let through."""

    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    open: set[str] = field(default_factory=set)


class Server:
    """Serves one listening socket until ``stop`` is readable."""

    def __init__(
        self, listener: socket.socket, uid: int, trail: Trail, content: Content, counts: Counts
    ):
        self._listener = listener
        self._uid = uid
        self._trail = trail
        self._content = content
        self._counts = counts
        self._peers: dict[socket.socket, Peer] = {}
        self._selector = selectors.DefaultSelector()
        self._arrived = memoryview(bytearray(_CHUNK))
        self._checkpoint = 0
        self._day = ""  # of the last checkpoint
        self._failing = False
        now = time.monotonic()
        self._due: list[tuple[float, float, Callable[[], None]]] = [
            (now, _SAVE_SECONDS, self._trail.save),
            (now + _COUNT_SECONDS, _COUNT_SECONDS, self._write_counts),
            (now, _CHECKPOINT_SECONDS, self._tell),
            (now, _EXPIRE_SECONDS, self._trail.expire),
        ]

    def run(self, stop: socket.socket) -> None:
        """Serve; what is written is on the disk when this returns."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(stop, selectors.EVENT_READ)
        while True:
            ready = [
                key.fileobj for key, _events in self._selector.select(max(0.0, self._due_in()))
            ]
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif source is not stop:
                    self._read(self._peers[source])  # type: ignore[index]
            self._do_due()
            if stop in ready:
                break
        self._write_counts()
        self._append([{"kind": "stopped"}])
        self._trail.close()
        self._tell()

    # -- connections -----------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:  # whoever it was has gone again, accept(2)
            return
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        uid = _CREDENTIALS.unpack(credentials)[1]
        if uid != self._uid or len(self._peers) >= _MAX_CONNECTIONS:
            print(f"<4>refused a connection of user {uid}", file=sys.stderr)
            connection.close()
            return
        connection.setblocking(False)
        peer = self._peers[connection] = Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ)
        try:
            self._answer(peer, self._content.policy[:1].encode())
        except (OSError, NotAFrame):
            self._leave(peer)

    def _read(self, peer: Peer) -> None:
        try:
            count = peer.connection.recv_into(self._arrived)
            peer.buffer += self._arrived[:count]
            self._take(peer)
        except (OSError, NotAFrame) as exc:
            print(f"<4>a connection ended: {exc}", file=sys.stderr)
            count = 0
        if not count:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        """Write down the requests whose end nobody will tell: the gatekeeper has died."""
        if self._peers.pop(peer.connection, None):
            self._selector.unregister(peer.connection)
            peer.connection.close()
            self._append([{"kind": "lost", "id": name} for name in sorted(peer.open)])

    def _answer(self, peer: Peer, data: bytes) -> None:
        # The socket holds thousands of them: who does not take them does not read at all.
        if peer.connection.send(data) != len(data):
            raise NotAFrame("its answers are not taken")

    # -- records ---------------------------------------------------------------------------

    def _take(self, peer: Peer) -> None:
        frames = []
        while frame := _frame(peer.buffer):
            frames.append(frame)
        if frames:
            self._answer(peer, self._write(peer, frames))

    def _write(self, peer: Peer, frames: list[tuple[dict[str, Any], Any]]) -> bytes:
        """Write what came together in one go; return the answers."""
        now = time.monotonic()
        lines = [record for record, _content in frames if self._counts.admits(record, now)]
        try:
            for _record, content in frames:
                if content is not None:
                    self._content.keep(content)
        except OSError as exc:
            self._say(f"the content cannot be kept: {exc}")
            return b"-" * len(frames)
        if not self._append(lines):
            return b"-" * len(frames)
        for record, _content in frames:
            if record["kind"] == "open":
                peer.open.add(record["id"])
            else:
                peer.open.discard(record.get("id", ""))
        if len(peer.open) > _MAX_OPEN:
            raise NotAFrame(f"more than {_MAX_OPEN} requests without an end")
        return b"+" * len(frames)

    def _append(self, records: list[dict[str, Any]]) -> bool:
        try:
            if records:
                self._trail.append(records)
        except (AirlockError, Unwritable) as exc:
            self._say(str(exc))
            return False
        self._failing = False
        if self._trail.head[0] - self._checkpoint >= _CHECKPOINT_RECORDS:
            self._tell()
        return True

    def _say(self, sentence: str) -> None:
        if not self._failing:  # once, not for each record that a full disk refuses
            print(f"<3>{sentence}", file=sys.stderr, flush=True)
        self._failing = True

    # -- what is done now and then -----------------------------------------------------------

    def _due_in(self) -> float:
        return min(when for when, _every, _job in self._due) - time.monotonic()

    def _do_due(self) -> None:
        now = time.monotonic()
        for index, (when, every, job) in enumerate(self._due):
            if when <= now:
                self._due[index] = (now + every, every, job)
                try:
                    job()
                except (AirlockError, OSError, Unwritable) as exc:
                    self._say(str(exc))

    def _write_counts(self) -> None:
        records = self._counts.drain()
        if not self._append(records):
            self._counts.put_back(records)

    def _tell(self) -> None:
        """Say in the journal, which this user cannot write anew, how far the trail goes."""
        seq, sha256 = self._trail.head
        if seq > self._checkpoint:
            self._checkpoint = seq
            day, self._day = self._day, time.strftime("%Y-%m-%d")
            # That of each day is read when the others are too many.
            print(
                f"<{6 if day == self._day else 5}>checkpoint trail={self._trail.name} seq={seq} sha256={sha256}",
                file=sys.stderr,
                flush=True,
            )


def _frame(buffer: bytearray) -> tuple[dict[str, Any], Any] | None:
    """Take the first whole frame out of ``buffer``, None when there is none yet. Raises NotAFrame."""
    if len(buffer) < _LENGTHS.size:
        return None
    record_size, content_size = _LENGTHS.unpack_from(buffer)
    if record_size > _MAX_RECORD or content_size > _MAX_CONTENT:
        raise NotAFrame("a frame is too large")
    middle, end = _LENGTHS.size + record_size, _LENGTHS.size + record_size + content_size
    if len(buffer) < end:
        return None
    record, content = bytes(buffer[_LENGTHS.size : middle]), bytes(buffer[middle:end])
    del buffer[:end]
    try:
        parsed = canonical.loads(record, where="a record")
        kept = json.loads(content) if content else None
    except (AirlockError, ValueError) as exc:
        raise NotAFrame(str(exc)) from exc
    good = (
        isinstance(parsed, dict)
        and parsed.get("kind") in _KINDS
        and (isinstance(parsed.get("id"), str) or parsed["kind"] == "missed")
        and (kept is None or (isinstance(kept, dict) and kept.get("id") == parsed.get("id")))
    )
    if not good:
        raise NotAFrame("a record has no kind or no id")
    return parsed, kept
