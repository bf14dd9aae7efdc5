# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a turn of the loop, and for how long: counted, not timed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

WINDOWS = 5


class Tables:
    """Looks at every text in WINDOWS windows, and counts them."""

    def __init__(self, windows: int = WINDOWS) -> None:
        self.windows, self.done = windows, 0

    def looks(self, _text: str) -> Iterator[Any]:
        for number in range(self.windows):
            if number:
                yield None
            self.done += 1
            yield 1.0, set()

    def sum_up(self, looks: list[Any], _channel: str) -> int:
        return len(looks)


def test_of_many_texts_one_window_is_looked_at_in_a_turn(
    gatekeeper: Callable[[str], ModuleType],
) -> None:
    tables = Tables()
    looking = gatekeeper("looking").Looking(tables)

    async def run() -> list[int]:
        texts = [asyncio.ensure_future(looking.judge("x", "prompt")) for _text in range(16)]
        await asyncio.sleep(0)  # each has begun
        before, turns = tables.done, []
        while not all(text.done() for text in texts):
            await asyncio.sleep(0)
            turns.append(tables.done - before)
            before = tables.done
        assert [text.result() for text in texts] == [WINDOWS] * 16
        return turns

    turns = asyncio.run(run())
    assert sum(turns) == 16 * (WINDOWS - 1)
    assert max(turns) == 1


def test_a_short_text_waits_for_no_turn(gatekeeper: Callable[[str], ModuleType]) -> None:
    work = gatekeeper("looking").Looking(Tables(1)).judge("x", "prompt")
    with pytest.raises(StopIteration) as done:
        work.send(None)
    assert done.value.value == 1


@pytest.mark.parametrize(("size", "beside"), [(8192, False), (8193, True)])
def test_what_is_no_trifle_is_done_beside_the_others(
    gatekeeper: Callable[[str], ModuleType], size: int, beside: bool
) -> None:
    aside = gatekeeper("aside").Aside()
    places = []

    def work(data: bytes) -> bytes:
        places.append(threading.current_thread() is not threading.main_thread())
        return data

    class Answer:
        """Is its own content."""

        @property
        def content(self) -> Any:
            return self

        async def iter_any(self) -> Any:
            yield bytes(size)

    async def run() -> None:
        assert await aside.fed("chat-1", work, bytes(size - 10), 10) == bytes(size - 10)
        assert await aside.whole("chat-1", Answer(), size, work) == bytes(size)

    asyncio.run(run())
    assert places == [beside, beside]


# -- flights -----------------------------------------------------------------------------------

REQUEST = SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False))


def test_a_flight_has_an_end(
    gatekeeper: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    flights = gatekeeper("flights")
    monkeypatch.setattr(flights, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(flights, "_GRACE_SECONDS", 0)

    async def fly(*seconds: float) -> None:
        all_of_them = flights.Flights()
        with all_of_them.watched(REQUEST, lambda: None):
            for each in seconds:
                all_of_them.expect(each)
            await asyncio.sleep(0.1)

    asyncio.run(fly())
    asyncio.run(fly(0, 60))  # what is expected later counts
    with pytest.raises(Exception, match="not complete in time") as caught:
        asyncio.run(fly(60, 0))
    assert (caught.value.status, caught.value.code) == (504, "answer_timeout")


def test_a_cancellation_that_was_lost_is_made_up_for(
    gatekeeper: Callable[[str], ModuleType],
) -> None:
    """asyncio.wait_for of Python 3.11 swallows one that comes in the turn in which it has its result."""
    flights = gatekeeper("flights").Flights()
    went_on = []

    class Revoked(Exception):
        """The key is."""

    def recheck() -> None:
        raise Revoked

    async def request() -> None:
        with flights.watched(REQUEST, recheck):
            flights.expect(60)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                went_on.append("lost")
            flights.expect(60)
            went_on.append("the runtime")

    async def run() -> None:
        task = asyncio.ensure_future(request())
        await asyncio.sleep(0)
        flights._look()
        with pytest.raises(Revoked):
            await task

    asyncio.run(run())
    assert went_on == ["lost"]
