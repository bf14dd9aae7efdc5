# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work on what a runtime sent: beside everybody else's requests, for each release one piece at a time.

A runtime that was taken over chooses what it sends. What it can cost is the largest answer once for
each release, in memory, and its share of the processor.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
from airlock.errors import AirlockError

# What is done at once, in bytes: nearly everything is. Of the worst that a runtime can think of it is 10 ms of work in
# a stream and 30 ms in a whole answer, on a slow core.
_SMALL = 8 * 1024


class Aside:
    """The turns of the releases."""

    def __init__(self) -> None:
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def whole(
        self,
        release: str,
        answer: aiohttp.ClientResponse,
        limit: int,
        clean: Callable[[bytes], bytes],
    ) -> bytes:
        """Return the cleaned body of an answer of at most ``limit`` bytes; a large one is read in its turn.

        Raises AirlockError, and what ``clean`` raises.
        """
        data = bytearray()
        async with AsyncExitStack() as turn:
            async for chunk in answer.content.iter_any():
                if len(data) <= _SMALL < len(data) + len(chunk):
                    await turn.enter_async_context(self._turns[release])
                data += chunk
                if len(data) > limit:
                    raise AirlockError("the backend's answer is too large.")
            if len(data) <= _SMALL:
                return clean(bytes(data))
            return await _in_thread(clean, bytes(data))

    async def fed(
        self, release: str, feed: Callable[[bytes], bytes], chunk: bytes, waiting: int
    ) -> bytes:
        """Return what ``feed`` makes of a part of a stream, behind ``waiting`` bytes that it completes."""
        if len(chunk) + waiting <= _SMALL:
            return feed(chunk)
        async with self._turns[release]:
            return await _in_thread(feed, chunk)


async def _in_thread(work: Callable[[bytes], bytes], data: bytes) -> bytes:
    done = asyncio.get_running_loop().run_in_executor(None, work, data)
    try:
        return await asyncio.shield(done)
    finally:
        # Also of a request that is over: until then its turn is.
        await asyncio.wait([done])
