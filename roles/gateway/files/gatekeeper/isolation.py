# SPDX-License-Identifier: GPL-3.0-or-later
"""No caller learns of another's prompt through what a runtime remembers.

llama.cpp's server keeps the last prompt in each of its places (its own word is slot) and skips what
a new prompt has in common with it, which shows in the time to the first token. Here a place is lent
to one request at a time, and what it remembers is used only by the caller who used it last and got
a whole answer; everybody else has it forgotten (``cache_prompt: false``). vLLM is told by a salt whose
prompts are whose. What is known of neither kind is refused.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from airlock.errors import AirlockError
from airlock.files import read_limited
from airlock.releases import LaunchConfig
from airlock.request_policy import Refusal, Route
from audit import Entry
from callers import Caller
from config import Slot
from limits import Limited

_CONFIG_LIMIT = 1024 * 1024
_HAS_PLACES = "llama_cpp"
# How long a request that was broken off may still be on its way to a place.
_SETTLE_SECONDS = 60.0
# How long a request waits for others; a client that hears of it can try again, one that hangs cannot.
_WAIT_SECONDS = 120.0
# Routes on which llama.cpp's server heeds `id_slot` and `cache_prompt`; on others it ignores both.
_NAMES_A_PLACE = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
# Refusals after which nothing of a request is left in the runtime.
_OVER = frozenset({"backend_refused", "backend_unavailable"})

Name = tuple[str, str]


class Isolation:
    """The places of every release; ``releases`` is the directory of their configurations."""

    def __init__(self, releases: Path, clock: Callable[[], float] = time.monotonic):
        self._releases = releases
        self._clock = clock
        # Requests of an earlier process may still be on their way.
        self._settled = clock() + _SETTLE_SECONDS
        self._known: dict[str, _Places] = {}

    @asynccontextmanager
    async def lend(
        self, slot: Slot, route: Route, caller: Caller, body: dict[str, Any], entry: Entry
    ) -> AsyncIterator[None]:
        """Lend ``caller`` a place of a release for one request, and say so in its ``body``.

        A request for several answers, or on a route that cannot name a place, is lent all of them,
        for the runtime chooses which it takes. Raises Refusal (503) where prompts are not kept
        apart, or it is not known how.
        """
        if route.salt:
            yield
            return
        if slot.backend != _HAS_PLACES:
            raise Refusal(503, "not_isolated", "The service cannot keep callers apart here.")
        places = self._places(slot.release)
        several = body.get("n", 1) != 1 or isinstance(body.get("prompt"), list)
        if not places.count:
            yield
        elif several or route.path not in _NAMES_A_PLACE:
            async with places.lend_all(entry):
                yield
        else:
            async with places.lend(caller.name, entry) as (place, reuse):
                body.update(id_slot=place, cache_prompt=reuse)
                yield

    def _places(self, release: str) -> _Places:
        # A release never changes, only its name is asked for again.
        if release not in self._known:
            self._known[release] = _Places(self._count(release), self._settled, self._clock)
        return self._known[release]

    def _count(self, release: str) -> int:
        where = str(self._releases / f"{release}.json")
        try:
            config = LaunchConfig.parse(read_limited(where, _CONFIG_LIMIT), where)
        except (AirlockError, OSError) as exc:
            print(f"gatekeeper: {exc}", file=sys.stderr, flush=True)
            raise Refusal(503, "not_configured", "The service is not configured here.") from exc
        return config.flags.parallel if config.flags.mode == "chat" else 0


class _Places:
    """The places of one release."""

    def __init__(self, count: int, settled: float, clock: Callable[[], float]):
        self.count = count
        self._clock = clock
        self._free = set(range(count))
        self._turns = asyncio.Semaphore(count)
        self._collecting = asyncio.Lock()
        self._owners: list[Name | None] = [None] * count
        self._used = [0.0] * count
        self._settled = [settled] * count

    @asynccontextmanager
    async def lend(self, name: Name, entry: Entry) -> AsyncIterator[tuple[int, bool]]:
        """Wait for a place; give its number and whether what it remembers is this caller's. Raises Limited."""
        async with AsyncExitStack() as stack:
            await self._take_turns(stack, 1)
            place = self._choose(name)
            self._free.remove(place)
            mine, self._owners[place] = self._owners[place] == name, None
            settled = self._clock() >= self._settled[place]
            try:
                with self._watch(entry, [place]):
                    yield place, mine and settled
                    if settled and entry.reason == "ok":
                        self._owners[place] = name
            finally:
                self._used[place] = self._clock()
                self._free.add(place)

    @asynccontextmanager
    async def lend_all(self, entry: Entry) -> AsyncIterator[None]:
        """Wait for every place; nobody owns one afterwards. Raises Limited."""
        async with AsyncExitStack() as stack:
            await self._take_turns(stack, self.count)
            self._owners = [None] * self.count
            with self._watch(entry, range(self.count)):
                yield

    async def _take_turns(self, stack: AsyncExitStack, count: int) -> None:
        """Wait until ``count`` requests fewer hold places; ``stack`` gives them back. Raises Limited."""
        if count == 1 and not self._turns.locked():
            await stack.enter_async_context(self._turns)
            return
        try:
            await asyncio.wait_for(self._collect(stack, count), _WAIT_SECONDS)
        except asyncio.TimeoutError as exc:
            raise Limited("busy", "The service is at work for others; try again.", 1) from exc

    async def _collect(self, stack: AsyncExitStack, count: int) -> None:
        if count == 1:
            await stack.enter_async_context(self._turns)
            return
        async with self._collecting:  # two that hold half of them each would wait forever
            for _place in range(count):
                await stack.enter_async_context(self._turns)

    @contextmanager
    def _watch(self, entry: Entry, places: Iterable[int]) -> Iterator[None]:
        """Trust ``places`` for a while with nobody's prompt when a request does not come to its end."""
        over = False
        try:
            yield
            over = entry.reason == "ok"
        except Refusal as exc:
            over = exc.code in _OVER
            raise
        finally:
            if not over:
                for place in places:
                    self._settled[place] = self._clock() + _SETTLE_SECONDS

    def _choose(self, name: Name) -> int:
        """Return the caller's own place, else one that is nobody's, else the one used least lately."""
        return min(
            self._free,
            key=lambda place: (
                self._owners[place] != name,
                self._owners[place] is not None,
                self._used[place],
            ),
        )
