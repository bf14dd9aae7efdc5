# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded of each request, and the way to the writer of the audit trail.

The trail belongs to another process with another user (roles/audit, where the protocol is written down). A
request is let through once its ``open`` record is acknowledged, and ends once its ``done`` record is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from airlock.errors import AirlockError
from transcript import Transcript

_LENGTHS = struct.Struct(">II")
_WRITTEN = ord("+")
FULL, REDACTED = b"f", b"r"
_ANSWER_SECONDS = 5
_LOOK_SECONDS = 1
_MAX_OWED = 10_000
# Of an answer whose text is kept; the digest is that of all of it.
_MAX_KEPT = 1024 * 1024


class AuditError(Exception):
    """The trail cannot be written, so no request may be served."""


@dataclass
class Entry:
    """What is known of one request; None is what was never reached."""

    id: str
    method: str
    client: str | None = None
    certificate: str | None = None  # SHA-256 of what the client showed
    certificate_name: str | None = None
    key: str | None = None
    subject: str | None = None  # the person that a shared client named
    route: str | None = None
    service: str | None = None
    release: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    slot: str | None = None  # anything but current wants to be looked at
    status: int = 0
    reason: str = "ok"
    forwarded: bool = False  # to a runtime
    tables: str | None = None  # versions of those of screen and filter
    verdicts: list[str] = field(default_factory=list)
    prompt_sha256: str | None = None
    prompt_bytes: int = 0
    sent_sha256: str | None = None  # of the body that the runtime gets
    response_sha256: str | None = None
    response_bytes: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: int | None = None
    ms: int = 0
    started: float = field(default_factory=time.monotonic)
    keeps: bytes = b""  # the writer's policy for texts, once it was let through
    prompt: bytes = b""
    response: bytearray = field(default_factory=bytearray)
    transcript: Transcript | None = None

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the request came in."""
        return round((time.monotonic() - self.started) * 1000)

    def keep(self, data: bytes) -> None:
        """Take ``data`` as the next part of the answer's text, where it is kept as it is."""
        if self.keeps == FULL:
            self.response += data[: max(0, _MAX_KEPT - len(self.response))]

    def record(self, kind: str) -> dict[str, Any]:
        """Return what the trail gets; of a request that is not over, what is known."""
        values = {name: getattr(self, name) for name in _RECORDED}
        if kind == "open":
            values = {name: value for name, value in values.items() if value}
        return {"kind": kind, **values}

    async def content(self) -> dict[str, Any] | None:
        """Return the texts as they are kept; None where none are, as of what was refused.

        Whoever has a key that is none could fill the disk with those.
        """
        if self.keeps == FULL:
            return {
                "id": self.id,
                "policy": "full",
                "prompt": self.prompt.decode(errors="replace"),
                "response": self.response.decode(errors="replace"),
            }
        if self.keeps == REDACTED and self.transcript:
            return {"id": self.id, "policy": "redacted", **await self.transcript.redacted()}
        return None


_UNRECORDED = ("started", "keeps", "prompt", "response", "transcript")
_RECORDED = [entry.name for entry in fields(Entry) if entry.name not in _UNRECORDED]


class Trail:
    """The way to the writer, opened when it is needed."""

    def __init__(self, path: Path):
        self._path = path
        self._writer = _Writer()
        self._owed: deque[Entry] = deque()
        self._missed = 0
        self._opening = asyncio.Lock()

    @property
    def up(self) -> bool:
        """Return whether the writer is there and nothing is owed to it."""
        return self._writer.open and not self._owed

    @property
    def owed(self) -> int:
        """Return how many records have not reached the trail."""
        return len(self._owed)

    async def ready(self) -> None:
        """Make sure that the writer is there and has everything so far. Raises AuditError."""
        if self.up and not self._missed:
            return
        async with self._opening:
            if not self._writer.open:
                self._writer = await _connected(self._path)
            while self._owed:
                await self._done(self._owed[0])
                self._owed.popleft()
            if self._missed:
                missed = self._missed
                await self._writer.send(_frame({"kind": "missed", "requests": missed}))
                self._missed -= missed  # others may have been turned away meanwhile

    async def let_through(self, entry: Entry) -> None:
        """Record that a request goes on to a runtime. Raises AuditError: it must not."""
        entry.forwarded, entry.keeps = True, self._writer.policy
        await self._writer.send(_frame(entry.record("open")))

    async def finish(self, entry: Entry) -> None:
        """Record how a request ended. Raises AuditError, and keeps it until it can be written."""
        try:
            await self._done(entry)
        except (AuditError, asyncio.CancelledError):
            # The oldest stay: the first may be on its way, and those that a runtime saw came before
            # nothing was let through any more.
            if len(self._owed) < _MAX_OWED:
                self._owed.append(entry)
            else:
                self.miss()
            raise

    async def owe(self, entry: Entry) -> None:
        """Record a request whose answer does not wait for it: now, or as soon as the writer is there."""
        with contextlib.suppress(AuditError):
            await self.finish(entry)

    def miss(self) -> None:
        """Count a request that will have no record because nothing can be written."""
        self._missed += 1

    async def _done(self, entry: Entry) -> None:
        text = b""
        try:
            content = await entry.content()
            text = _json(content) if content else b""
        except (ValueError, RecursionError, AirlockError) as exc:  # the record is worth more
            print(f"gatekeeper: a text was not kept: {type(exc).__name__}", file=sys.stderr)
        await self._writer.send(_frame(entry.record("done"), text))


class _Writer(asyncio.Protocol):
    """One connection; it answers frames in order, the first answer says what is kept."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self.policy: bytes = b""
        self._frames: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()  # since when
        self._look: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[None] | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, frame: bytes) -> asyncio.Future[None]:
        """Return what is done once the frame's content is written. It raises AuditError when that failed."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        if not self.open:
            _fail(answer, "the writer is gone")
            return answer
        if not self._frames:  # what other requests send in this turn of the loop goes with it
            loop.call_soon(self._flush)
        self._frames.append(frame)
        self._waiting.append((loop.time(), answer))
        if self._look is None:
            self._look = loop.call_later(_LOOK_SECONDS, self._give_up)
        return answer

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        if self._transport is not None:
            self._transport.write(b"".join(frames))

    def _give_up(self) -> None:
        """End the connection when an answer is overdue; look again while one is awaited."""
        self._look = None
        if self._waiting and self._transport is not None:
            loop = asyncio.get_running_loop()
            if self._waiting[0][0] + _ANSWER_SECONDS <= loop.time():
                self._transport.abort()
            self._look = loop.call_later(_LOOK_SECONDS, self._give_up)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.greeted = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.policy:
            self.policy, data = data[:1], data[1:]
            if self.greeted is not None and not self.greeted.done():
                self.greeted.set_result(None)
        for byte in data:
            _since, answer = self._waiting.popleft()
            if answer.done():  # nobody waits for it any more
                continue
            if byte == _WRITTEN:
                answer.set_result(None)
            else:
                _fail(answer, "the writer could not write")

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in [*(answer for _since, answer in self._waiting), self.greeted]:
            if answer is not None and not answer.done():
                _fail(answer, f"the writer is gone: {exc or 'it hung up'}")
        self._waiting.clear()


def _fail(answer: asyncio.Future[None], text: str) -> None:
    answer.set_exception(AuditError(text))
    answer.exception()  # whoever waited may have gone


async def _connected(path: Path) -> _Writer:
    loop = asyncio.get_running_loop()
    try:
        transport, writer = await asyncio.wait_for(
            loop.create_unix_connection(_Writer, str(path)), _ANSWER_SECONDS
        )
    except (OSError, asyncio.TimeoutError) as exc:
        raise AuditError(f"{path}: {exc or 'no answer'}") from exc
    try:
        await asyncio.wait_for(asyncio.shield(writer.greeted), _ANSWER_SECONDS)
    except asyncio.TimeoutError as exc:
        transport.abort()
        raise AuditError(f"{path}: the writer does not answer") from exc
    return writer


def _frame(record: dict[str, Any], content: bytes = b"") -> bytes:
    head = _json(record)
    return _LENGTHS.pack(len(head), len(content)) + head + content


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
