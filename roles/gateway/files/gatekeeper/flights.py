# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests on which a runtime is at work: each is stopped when its client is gone or may no longer ask, and in time.

aiohttp tells a handler that its client is gone only when it writes, which it does not do while a runtime still
reads the prompt. One look at all of them costs less than a timer and a task for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from airlock.request_policy import Refusal

_LOOK_SECONDS = 0.2
# aiohttp's own time for a silent runtime, which it rounds up to whole seconds, ends first: it leaves a better answer.
_GRACE_SECONDS = 1.5


class ClientGone(Exception):
    """The client closed the connection before its answer was complete."""


@dataclass
class _Flight:
    """One request; ``due`` is when it must be over, ``stopped_by`` why its task was cancelled."""

    request: web.BaseRequest
    recheck: Callable[[], None]
    due: float = math.inf
    stopped_by: Exception | None = None

    def objection(self, now: float) -> Exception | None:
        """Return why the request must not go on."""
        if now > self.due:
            return Refusal(504, "answer_timeout", "The answer was not complete in time.")
        if self.request.transport is None or self.request.transport.is_closing():
            return ClientGone()
        try:
            self.recheck()
        except Exception as exc:  # noqa: BLE001 - who cannot be checked is not served
            return exc
        return None


class Flights:
    """All of them."""

    def __init__(self) -> None:
        self._flights: dict[asyncio.Task[Any], _Flight] = {}
        self._next: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def watched(self, request: web.BaseRequest, recheck: Callable[[], None]) -> Iterator[None]:
        """Stop the work within when the client hangs up (ClientGone), or ``recheck`` raises (what it raised)."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        flight = self._flights[task] = _Flight(request, recheck)
        if self._next is None:
            self._look_later()
        try:
            yield
        except asyncio.CancelledError:
            if flight.stopped_by is None:
                raise
        finally:
            del self._flights[task]
        if flight.stopped_by is not None:
            raise flight.stopped_by

    def expect(self, seconds: float) -> None:
        """Stop the request that runs here unless it is over, or expects something else, in ``seconds``.

        Raises what it was to be stopped by: a cancellation can be lost (asyncio.wait_for of Python 3.11).
        """
        flight = self._flights[cast("asyncio.Task[Any]", asyncio.current_task())]
        if flight.stopped_by is not None:
            raise flight.stopped_by
        flight.due = asyncio.get_running_loop().time() + seconds + _GRACE_SECONDS

    def _look_later(self) -> None:
        self._next = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._next = None
        if self._flights:
            self._look_later()
        now = asyncio.get_running_loop().time()
        for task, flight in self._flights.items():
            if flight.stopped_by is None and (objection := flight.objection(now)):
                flight.stopped_by = objection
                task.cancel()
