# SPDX-License-Identifier: GPL-3.0-or-later
"""What a caller may have, by a clock that the test holds; the process is asked in test_keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import request_policy

TOKENS = {"type": "integer", "min": 1, "max": 9999}


@pytest.fixture(scope="module")
def limits(gatekeeper: Callable[[str], ModuleType]) -> ModuleType:
    return gatekeeper("limits")


def scope(**bounds: int) -> Any:
    names = ("max_tokens", "requests_per_minute", "tokens_per_minute", "concurrency")
    return SimpleNamespace(on_behalf=False, **{name: bounds.get(name) for name in names})


def caller(name: str = "alice", **bounds: int) -> Any:
    return SimpleNamespace(name=(name, ""), shown=SimpleNamespace(id=name), scope=scope(**bounds))


def person(name: str, **bounds: int) -> Any:
    """Return somebody behind the shared key ``webui``."""
    shared = caller("webui", **bounds)
    shared.name, shared.scope.on_behalf = ("webui", name), True
    return shared


def route(fields: dict[str, Any], **defaults: Any) -> request_policy.Route:
    rule = {"type": "object", "fields": fields}
    return request_policy.Route("POST", "/x", "infer", rule=rule, defaults=defaults)


NESTED = route({"options": {"type": "object", "fields": {"num_predict": TOKENS}}})
EMBEDDINGS = route({"input": {"type": "string", "max_length": 9}})


@pytest.mark.parametrize(
    ("where", "bounds", "defaults"),
    [
        (route({"max_tokens": TOKENS}, max_tokens=4096), {"max_tokens": 9}, {"max_tokens": 9}),
        (route({"max_tokens": TOKENS}, max_tokens=5), {"max_tokens": 9}, {"max_tokens": 5}),
        (route({"max_tokens": TOKENS}), {"max_tokens": 9}, {"max_tokens": 9}),
        (route({"max_tokens": TOKENS}), {}, {}),
        (
            route({"max_output_tokens": TOKENS}, stream=True),
            {"max_tokens": 9, "tokens_per_minute": 7},
            {"stream": True, "max_output_tokens": 7},
        ),
        (NESTED, {"max_tokens": 9}, {"options": {"num_predict": 9}}),
        (route({"input": {"type": "string", "max_length": 9}}), {"max_tokens": 9}, {}),
    ],
)
def test_every_dialect_gets_the_bound_of_the_key(
    limits: ModuleType, where: Any, bounds: dict[str, int], defaults: dict[str, Any]
) -> None:
    before = dict(where.defaults)
    assert limits.bounded(where, scope(**bounds)).defaults == defaults
    assert where.defaults == before


def test_too_much_is_refused_wherever_it_is_asked_for(limits: ModuleType) -> None:
    gate = limits.Limits(4, 4)
    body = {"options": {"num_predict": 10}}
    with (
        pytest.raises(Exception, match="asks for up to 10 tokens") as caught,
        gate.spend(caller(max_tokens=9), NESTED, body, ENTRY),
    ):
        pytest.fail("it was let in")
    assert (caught.value.status, caught.value.param) == (400, "options.num_predict")


def test_what_a_body_leaves_out_below_its_top_is_said(limits: ModuleType) -> None:
    """Defaults of a route are laid over the top of a body alone."""
    gate = limits.Limits(4, 4)
    body: dict[str, Any] = {"options": {"temperature": 1}}
    with gate.spend(caller(max_tokens=9), NESTED, body, ENTRY):
        assert body == {"options": {"temperature": 1, "num_predict": 9}}


def test_a_bucket_fills_as_the_minute_passes(limits: ModuleType) -> None:
    clock = SimpleNamespace(now=0.0)
    gate = limits.Limits(4, 4, lambda: clock.now)
    alice = caller(requests_per_minute=6)

    def passes() -> int:
        for count in range(99):
            try:
                with gate.turn(alice):
                    pass
            except limits.Limited as exc:
                assert exc.retry_after == 10
                return count
        return -1

    assert passes() == 6
    for minutes, count in ((1 / 6, 1), (0.5, 3), (1, 6), (60, 6)):
        clock.now += minutes * 60
        assert passes() == count


def test_people_without_number_fill_no_memory(limits: ModuleType) -> None:
    clock = SimpleNamespace(now=0.0)
    gate = limits.Limits(4, 4, lambda: clock.now)
    for number in range(10_000):
        clock.now += 0.1
        with gate.turn(caller(f"p{number}", requests_per_minute=6)):
            pass
    assert len(gate._buckets) <= 4096
    assert not gate._of_caller


def test_buckets_that_are_not_full_fill_no_memory_either(limits: ModuleType) -> None:
    clock = SimpleNamespace(now=0.0)
    gate = limits.Limits(4, 4, lambda: clock.now)
    with gate.turn(caller("greedy", requests_per_minute=1)):
        pass
    for number in range(10_000):
        with gate.turn(caller(f"p{number}", requests_per_minute=60)):
            pass
    assert len(gate._buckets) <= 4096
    with pytest.raises(limits.Limited), gate.turn(caller("greedy", requests_per_minute=1)):
        pytest.fail("the emptiest bucket was forgotten")


def test_inventing_people_gives_a_key_no_more_than_those_it_may_serve_at_a_time(
    limits: ModuleType,
) -> None:
    clock = SimpleNamespace(now=0.0)
    gate = limits.Limits(64, 4, lambda: clock.now)

    def passes(kind: str) -> int:
        for number in range(99):
            one = person(f"{clock.now}-{kind}-{number}", requests_per_minute=2, tokens_per_minute=9)
            try:
                if kind == "requests":
                    gate.count(one)
                else:
                    with gate.spend(one, NESTED, {"options": {"num_predict": 9}}, ENTRY) as tokens:
                        tokens.note({"eval_count": 9})
            except limits.Limited as exc:
                assert exc.code == f"{kind}_per_minute"
                return number
        return -1

    assert (passes("requests"), passes("tokens")) == (8, 4)
    clock.now += 60
    assert (passes("requests"), passes("tokens")) == (8, 4)


ENTRY = SimpleNamespace(status=200, prompt_bytes=0)
START = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}
CREATED = {
    "type": "response.created",
    "response": {"usage": {"input_tokens": 7, "output_tokens": 0}},
}
LAST = {"type": "message_delta", "usage": {"output_tokens": 3}}


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([], 10),
        ([START], 10),
        ([CREATED], 10),
        ([START, LAST], 90),
        ([START, {**LAST, "usage": {"output_tokens": 63}}], 30),
        ([{**START, "message": {"usage": {"input_tokens": 95, "output_tokens": 0}}}], 5),
    ],
)
def test_an_answer_that_was_cut_off_before_its_count_costs_all_that_it_might_have_had(
    limits: ModuleType, events: list[dict[str, Any]], left: int
) -> None:
    gate = limits.Limits(4, 4, lambda: 0.0)
    alice = caller(tokens_per_minute=100)
    body = {"options": {"num_predict": 90}}
    with suppress(ConnectionError), gate.spend(alice, NESTED, body, ENTRY) as tokens:
        for event in events:
            tokens.note(event)
        raise ConnectionError
    for asked, good in ((left + 1, False), (left, True)):
        body = {"options": {"num_predict": asked}}
        if good:
            with gate.spend(alice, NESTED, body, ENTRY):
                pass
        else:
            with pytest.raises(limits.Limited), gate.spend(alice, NESTED, body, ENTRY):
                pytest.fail("it was let in")


@pytest.mark.parametrize("route", [NESTED, EMBEDDINGS])
def test_a_prompt_whose_answer_was_not_waited_for_is_not_free(
    limits: ModuleType, route: Any
) -> None:
    gate = limits.Limits(4, 4, lambda: 0.0)
    alice = caller(tokens_per_minute=1000)
    for kilobytes, good in ((2, True), (1, True), (1, False)):
        entry = SimpleNamespace(status=0, prompt_bytes=kilobytes * 1024)
        body = {"options": {"num_predict": 1}}
        if not good:
            with pytest.raises(limits.Limited), gate.spend(alice, route, body, entry):
                pytest.fail("it was let in")
            continue
        with suppress(ConnectionError), gate.spend(alice, route, body, entry):
            raise ConnectionError


def test_a_prompt_larger_than_a_minute_passes_once_and_costs_what_was_counted(
    limits: ModuleType,
) -> None:
    gate = limits.Limits(4, 4, lambda: 0.0)
    alice, entry = caller(tokens_per_minute=100), SimpleNamespace(status=200, prompt_bytes=4000)
    body = {"options": {"num_predict": 1}}
    with gate.spend(alice, NESTED, body, entry) as tokens:
        tokens.note({"prompt_eval_count": 49, "eval_count": 1})
    with gate.spend(alice, NESTED, {"options": {"num_predict": 50}}, ENTRY):
        pass
