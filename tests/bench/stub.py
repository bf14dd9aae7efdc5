# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime that costs next to nothing: the same chat completion for whatever it is asked.

To ``"stream":true`` it answers with FRAMES pieces, one each INTERVAL_MS, and the end of the stream. A process of its
own, so that nobody else pays for it; the listening sockets are handed over as systemd does (sd_listen_fds(3)).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket

FRAMES = 64
INTERVAL_MS = 20
WORDS = [f" word{'abcdefgh'[number % 8]}" for number in range(FRAMES)]
_NAMES = {"id": "chatcmpl-1", "created": 1700000000, "model": "chat"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": ?true')


def _whole() -> bytes:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"object": "chat.completion", **_NAMES, "choices": [choice], "usage": _USAGE}
    data = json.dumps(answer).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(data)).encode() + data


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(word: str) -> bytes:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    event = {"object": "chat.completion.chunk", **_NAMES, "choices": [choice]}
    return _chunk(b"data: %s\n\n" % json.dumps(event).encode())


_WHOLE = _whole()
_BEGIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENTS = [_event(word) for word in WORDS]
_END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._data[: end + 2])
        size = end + 4 + (int(found[1]) if found else 0)
        if len(self._data) < size:
            return
        streamed = _STREAMED.search(self._data, end)
        self._data = self._data[size:]
        if streamed:
            self._transport.write(_BEGIN)
            self._send(0, asyncio.get_running_loop().time())
        else:
            self._transport.write(_WHOLE)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def _send(self, number: int, begun: float) -> None:
        """Send the piece before ``number``, and wait for the time of the next one."""
        if number:
            self._transport.write(_EVENTS[number - 1])
        if number == FRAMES:
            self._transport.write(_END)
            return
        due = begun + (number + 1) * INTERVAL_MS / 1000
        self._timer = asyncio.get_running_loop().call_at(due, self._send, number + 1, begun)


async def main() -> None:
    """Serve on every socket that was handed over."""
    loop = asyncio.get_running_loop()
    for number in range(int(os.environ["LISTEN_FDS"])):
        listener = socket.socket(fileno=3 + number)
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        await make(Connection, sock=listener)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
