# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a caller may have: requests at a time, requests and tokens a minute, tokens an answer.

A caller is a key, or the person that a shared client named with its key. Such a key as a whole has
as much a minute as the people that it may serve at a time, so that inventing people gains nothing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from airlock.key_scopes import Scope
from airlock.request_policy import Refusal, Route
from airlock.response_policy import Tokens
from audit import Entry
from callers import Caller

_MINUTE = 60.0
_MAX_BUCKETS = 4096
# Of a prompt that nobody has counted yet; English has about four, and what was too much is paid back.
_BYTES_A_TOKEN = 4
# Where the dialects say how many tokens an answer may have.
_TOKEN_FIELDS = (("max_tokens",), ("max_output_tokens",), ("options", "num_predict"))


class Limited(Refusal):
    """A request that comes too early; ``retry_after`` is in whole seconds (RFC 9110 10.2.3)."""

    def __init__(self, code: str, text: str, seconds: float):
        super().__init__(429, code, text)
        self.retry_after = max(1, math.ceil(seconds))


class _Bucket:
    """A token bucket that holds a minute's worth and may go into debt."""

    def __init__(self, capacity: int, now: float):
        self.capacity = capacity
        self._level = float(capacity)
        self._at = now

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` is there; 0 when it is."""
        rate = self.capacity / _MINUTE
        self._level = min(float(self.capacity), self._level + (now - self._at) * rate)
        self._at = now
        return max(0.0, (amount - self._level) / rate)

    def take(self, amount: float) -> None:
        """Take ``amount`` out, or put back what is negative."""
        self._level -= amount


class Limits:
    """Counts what callers have."""

    def __init__(
        self, at_a_time: int, at_a_time_per_key: int, clock: Callable[[], float] = time.monotonic
    ):
        self._at_a_time = at_a_time
        self._at_a_time_per_key = at_a_time_per_key
        self._clock = clock
        self._of_key: Counter[str] = Counter()
        self._of_caller: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[tuple[str, ...], _Bucket] = {}

    def count(self, caller: Caller) -> None:
        """Count a request of ``caller`` that is answered at once. Raises Limited."""
        self._take("requests", caller, caller.scope.requests_per_minute, 1)

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        """Count a request of ``caller`` while it is served: nobody may have it all. Raises Limited."""
        key, scope = caller.shown.id, caller.scope
        if self._of_key.total() >= self._at_a_time:
            raise Limited("busy", "The gateway serves as many requests as it may; try again.", 1)
        if self._of_key[key] >= self._at_a_time_per_key or self._of_caller[caller.name] >= (
            scope.concurrency or self._at_a_time_per_key
        ):
            raise Limited("key_busy", "This key has as many requests as it may; try again.", 1)
        self.count(caller)
        self._of_key[key] += 1
        self._of_caller[caller.name] += 1
        try:
            yield
        finally:
            self._of_key[key] -= 1
            self._of_caller[caller.name] -= 1
            if not self._of_caller[caller.name]:
                del self._of_caller[caller.name]

    @contextmanager
    def spend(
        self, caller: Caller, route: Route, body: dict[str, Any], entry: Entry
    ) -> Iterator[Tokens]:
        """Take the tokens that prompt and answer may have, and afterwards those that the runtime counted.

        The runtime's counts are to be noted in what this yields. An answer that was refused costs
        what is noted; one that broke off before the last count at least what was taken. Raises
        Refusal (400) for more than the key may ever have, and Limited.
        """
        capacity = caller.scope.tokens_per_minute
        asked = _asked(_token_field(route), body, caller.scope)
        answers = asked * _answers(body)
        for bound, wanted in ((caller.scope.max_tokens, asked), (capacity, answers)):
            if bound is not None and wanted > bound:
                raise Refusal(
                    400,
                    "too_many_tokens",
                    f"The request asks for up to {wanted} tokens; this API key may have {bound}.",
                    ".".join(_token_field(route)),
                )
        reserved = answers + entry.prompt_bytes // _BYTES_A_TOKEN
        reserved = reserved if capacity is None else min(reserved, capacity)
        buckets = self._take("tokens", caller, capacity, reserved)
        tokens, refused = Tokens(), False
        try:
            yield tokens
        except Refusal:
            refused = not entry.status
            raise
        finally:
            cost = (tokens.prompt or 0) + (tokens.completion or 0)
            if not (tokens.final or refused):
                cost = max(cost, reserved)
            for bucket in buckets:
                bucket.take(cost - reserved)

    def _take(self, kind: str, caller: Caller, capacity: int | None, amount: int) -> list[_Bucket]:
        """Take ``amount`` out of the bucket of the caller and, for who names people, of the key."""
        if capacity is None:
            return []
        now = self._clock()
        if len(self._buckets) >= _MAX_BUCKETS:
            self._forget(now)
        buckets = [self._bucket((kind, *caller.name), capacity, now)]
        if caller.scope.on_behalf:
            everybody = capacity * self._at_a_time_per_key
            buckets.append(self._bucket((kind, caller.shown.id), everybody, now))
        wait, most = max((bucket.wait(amount, now), bucket.capacity) for bucket in buckets)
        if wait > 0:
            raise Limited(
                f"{kind}_per_minute",
                f"This key may have {most} {kind} a minute; try again in {math.ceil(wait)} s.",
                wait,
            )
        for bucket in buckets:
            bucket.take(amount)
        return buckets

    def _bucket(self, name: tuple[str, ...], capacity: int, now: float) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None or bucket.capacity != capacity:
            bucket = self._buckets[name] = _Bucket(capacity, now)
        return bucket

    def _forget(self, now: float) -> None:
        """Make room: a full bucket says as little as none, and the nearly full ones say least."""
        missing = {
            name: bucket.wait(bucket.capacity, now) for name, bucket in self._buckets.items()
        }
        emptiest = sorted(missing, key=missing.__getitem__, reverse=True)[: _MAX_BUCKETS // 2]
        self._buckets = {name: self._buckets[name] for name in emptiest if missing[name] > 0}


def bounded(route: Route, scope: Scope) -> Route:
    """Return ``route`` with a default that leaves an answer no more tokens than the key may have."""
    defaults: dict[str, Any] = {**route.defaults}
    field = _token_field(route)
    bound = _bound(scope)
    if field and bound is not None:
        *above, name = field
        holder = defaults
        for part in above:
            holder[part] = {**holder.get(part, {})}
            holder = holder[part]
        holder[name] = min(bound, holder.get(name, bound))
    return replace(route, defaults=defaults)


def _bound(scope: Scope) -> int | None:
    bounds = [bound for bound in (scope.max_tokens, scope.tokens_per_minute) if bound is not None]
    return min(bounds, default=None)


def _token_field(route: Route) -> tuple[str, ...]:
    """Return the path of the field that bounds an answer; () where nothing is generated."""
    for field in _TOKEN_FIELDS:
        rule: Any = route.rule
        for part in field:
            rule = rule.get("fields", {}).get(part, {})
        if rule:
            return field
    return ()


def _asked(field: tuple[str, ...], body: dict[str, Any], scope: Scope) -> int:
    """Return how long an answer may be; where the body does not say it, it says so afterwards."""
    if not field:
        return 0
    *above, name = field
    holder = body
    for part in above:
        holder = holder.setdefault(part, {})
    bound = _bound(scope)
    if bound is not None:
        holder.setdefault(name, bound)
    return int(holder.get(name, 0))


def _answers(body: dict[str, Any]) -> int:
    prompt = body.get("prompt")
    return int(body.get("n") or 1) * (len(prompt) if isinstance(prompt, list) else 1)
