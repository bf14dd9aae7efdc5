# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams at the same time over warm connections: when the first piece comes, and how even those after it are."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from dataclasses import dataclass

from stub import FRAMES, WORDS


@dataclass(frozen=True)
class Arrivals:
    """Milliseconds: of each stream to its first piece, and between the pieces of all of them."""

    first: list[float]
    gaps: list[float]


class _Client:
    """One connection, which speaks as much HTTP as a stream takes (RFC 9112, section 7.1)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes):
        self._reader, self._writer, self._head = reader, writer, head

    def close(self) -> None:
        self._writer.transport.abort()

    async def ask(self, body: bytes) -> None:
        """Ask for an answer that is not streamed, and take it."""
        length = b"\r\ncontent-length: "
        head = (await self._begin(body)).lower()
        await self._reader.readexactly(int(head.split(length)[1].split(b"\r\n")[0]))

    async def stream(self, body: bytes) -> list[float]:
        """Return when each piece came, in milliseconds after the request left."""
        started = time.perf_counter()
        await self._begin(body)
        arrived, text, rest = [], [], b""
        while size := int(await self._reader.readline(), 16):
            *events, rest = (rest + (await self._reader.readexactly(size + 2))[:-2]).split(b"\n\n")
            now = (time.perf_counter() - started) * 1000
            for event in events:
                data = event.removeprefix(b"data: ")
                if data != b"[DONE]" and (content := _content(data)):
                    arrived.append(now)
                    text.append(content)
        await self._reader.readline()
        # The filter holds the end of a piece back until the next one: one more, and cut elsewhere.
        if "".join(text) != "".join(WORDS) or len(text) < FRAMES:
            raise SystemExit(f"void: of {FRAMES} pieces came {len(text)}: {''.join(text)!r}")
        return arrived

    async def _begin(self, body: bytes) -> bytes:
        self._writer.write(self._head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"void: a stream was answered with {head.splitlines()[0]!r}")
        return head


def _content(data: bytes) -> str:
    choices = json.loads(data)["choices"]
    return str(choices[0]["delta"].get("content") or "") if choices else ""


async def measure(
    port: int,
    trust: ssl.SSLContext | None,
    key: str,
    prompt: dict[str, object],
    count: int,
) -> Arrivals:
    """Take ``count`` streams at a time from 127.0.0.1, after one request each that warms its connection."""
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    ).encode()
    clients = [
        _Client(*await asyncio.open_connection("127.0.0.1", port, ssl=trust), head)
        for _client in range(count)
    ]
    first: list[float] = []
    gaps: list[float] = []
    streamed = json.dumps({**prompt, "stream": True}).encode()
    for client in clients:
        await client.ask(json.dumps(prompt).encode())
    for arrived in await asyncio.gather(*(client.stream(streamed) for client in clients)):
        first.append(arrived[0])
        gaps += [later - earlier for earlier, later in itertools.pairwise(arrived)]
    for client in clients:
        client.close()
    return Arrivals(first, gaps)
