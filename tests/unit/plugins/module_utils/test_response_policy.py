# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import dialects, response_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    Cleaner,
    EventCleaner,
    Largest,
    Tokens,
)
from ansible_collections.homelab.airlock.tests.corpus import answers

STREAMS = sorted(answers.STREAMED)
# Members that a client must not see, whatever their value.
HIDDEN = (
    "timings",
    "cached_tokens",
    "cache_read",
    "id_slot",
    "prompt",
    "generation_settings",
    "_duration",
)
HIDDEN_LINES = ("context", "prompt_eval_count")


def cleaner(dialect: str, tokens: Tokens | None = None, **more: Any) -> Cleaner:
    return Cleaner(dialect, "chat", tokens or Tokens(), **more)


def whole(dialect: str, document: Any, tokens: Tokens | None = None) -> Any:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return json.loads(cleaner(dialect, tokens).document(data, Largest(100_000, 10_000)))


def streamed(dialect: str, data: bytes, tokens: Tokens | None = None) -> bytes:
    events = EventCleaner(cleaner(dialect, tokens))
    return events.feed(data) + events.finish()


def hides(text: str, dialect: str) -> bool:
    hidden = (*HIDDEN, *(HIDDEN_LINES if dialect in dialects.LINES else ()))
    names = [part for part in text.split('"')[1::2] if part != "prompt_tokens"]
    return "LEAK" not in text and not [n for n in names for word in hidden if word in n]


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_a_whole_answer_loses_what_tells_of_others_and_nothing_else(dialect: str) -> None:
    tokens = Tokens()
    answer = whole(dialect, answers.WHOLE[dialect], tokens)
    assert hides(json.dumps(answer), dialect)
    assert answer["model"] == "chat"
    kept = json.dumps(answers.WHOLE[dialect])
    for word in ("TEXT", "THOUGHT", "ARGS", "NAME", "ID", "KEY"):
        assert (word in kept) == (word in json.dumps(answer)), word
    counted = dialect != dialects.EMBEDDINGS
    assert tokens == Tokens(7, 3 if counted else None, final=counted)
    if dialect == dialects.MESSAGES:  # a warm cache must not show in the count either
        assert answer["usage"] == {"input_tokens": 7, "output_tokens": 3}


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_streamed_answer_loses_the_same(dialect: str) -> None:
    tokens = Tokens()
    out = streamed(dialect, answers.stream(dialect), tokens).decode()
    assert hides(out, dialect)
    assert tokens == Tokens(7, 3, final=True)
    marks = out.count("\n") if dialect in dialects.LINES else out.count("data: {")
    assert marks == len(answers.STREAMED[dialect])
    if dialect in dialects.NAMED_EVENTS:
        assert out.count("event: ") == marks
    for word in ("TE", "XT", "THOUGHT", "ARGS"):
        assert (word in str(answers.STREAMED[dialect])) == (word in out)


def test_without_usage_the_timings_are_counted() -> None:
    tokens = Tokens()
    timings = b'{"prompt_n":1,"cache_n":6,"predicted_n":3}'
    streamed(dialects.CHAT, b'data: {"choices":[],"timings":' + timings + b"}\n\n", tokens)
    assert tokens == Tokens(7, 3, final=True)


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_comes_out_the_same_however_it_is_cut(dialect: str) -> None:
    data = answers.stream(dialect)
    expected = streamed(dialect, data)
    generator = random.Random(5)  # noqa: S311 - it chooses where to cut
    for count in [0, 1, 2, 5, 50, len(data)] * 4:
        cuts = sorted(generator.choices(range(len(data) + 1), k=count))
        events = EventCleaner(cleaner(dialect))
        edges = [0, *cuts, len(data)]
        out = b"".join(events.feed(data[a:b]) for a, b in itertools.pairwise(edges))
        assert out + events.finish() == expected


@pytest.mark.parametrize("dialect", STREAMS)
def test_an_event_leaves_with_its_last_byte(dialect: str) -> None:
    events = EventCleaner(cleaner(dialect))
    end = b"\n" if dialect in dialects.LINES else b"\n\n"
    for part in answers.stream(dialect).replace(b"\r", b"").split(end)[:-1]:
        assert events.feed(part) == b""
        assert events.feed(end).endswith(end)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"<html>", b'{"a":1,"a":2}', b" " * 100_001, b'{"error":{}}']
)
def test_an_answer_that_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(AirlockError):
        whole(dialects.CHAT, data)


UNKNOWN: dict[str, list[bytes]] = {
    dialects.CHAT: [
        b'data: {"object":"chat.completion.debug","choices":[]}\n\n',
        b'data: {"content":"x"}\n\n',
        b'event: debug\ndata: {"choices":[]}\n\n',
    ],
    dialects.COMPLETIONS: [b'data: {"content":"x","stop":false}\n\n'],
    dialects.RESPONSES: [
        b'event: response.debug\ndata: {"type":"response.debug"}\n\n',
        b'data: {"delta":"x"}\n\n',
        b'data: {"type":["response.created"]}\n\n',
        b'event: response.created\ndata: {"type":"response.completed","response":{}}\n\n',
        b'data: {"type":"response.output_item.done","item":{"type":"mcp_call","output":"x"}}\n\n',
    ],
    dialects.MESSAGES: [
        b'data: {"type":"content_block_delta","delta":{"type":"citations_delta","text":"x"}}\n\n',
        b'data: {"type":"debug"}\n\n',
    ],
    dialects.OLLAMA_CHAT: [b'{"message":{"content":"x"}}\n', b'{"status":"pulling"}\n'],
    dialects.OLLAMA_GENERATE: [b'{"response":"x"}\n'],
}


@pytest.mark.parametrize(
    ("dialect", "data"), [(dialect, data) for dialect, all_ in UNKNOWN.items() for data in all_]
)
def test_an_unknown_type_of_event_stops_the_stream(dialect: str, data: bytes) -> None:
    events = EventCleaner(cleaner(dialect))
    assert events.feed(answers.stream(dialect).partition(b"data: [DONE]")[0])
    with pytest.raises(AirlockError, match="unknown"):
        events.feed(data)


@pytest.mark.parametrize(
    "chunk",
    [
        b'data: {"choices":\n\n',
        b'data: ["usage"]\n\n',
        b'data: {"choices":[]}\rdata: x\n\n',
        b'data: {"choices":[],"choices":[]}\n\n',
        b'error: {"message":"x"}\n',
        b"data: [DONE]\n\ndata: {}\n\n",
        b'data: {"error":{"message":"x"}}\n\n',
        b"<html>\n",
        b"\xef\xbb\xbfdata: {}\n\n",
        b"x" * (response_policy.MAX_EVENT_BYTES + 1),
        b"data: x\n" * (response_policy.MAX_EVENT_BYTES + 1),
    ],
)
def test_a_stream_that_cannot_be_understood_stops(chunk: bytes) -> None:
    with pytest.raises(AirlockError):
        EventCleaner(cleaner(dialects.CHAT)).feed(chunk)


@pytest.mark.parametrize("rest", [b"data: {", b'data: {"choices":[]}\n'])
def test_a_stream_that_breaks_off_inside_an_event_is_an_error(rest: bytes) -> None:
    events = EventCleaner(cleaner(dialects.CHAT))
    events.feed(rest)
    with pytest.raises(AirlockError, match="ended inside"):
        events.finish()


def test_what_is_no_event_keeps_the_connection_alive_and_says_nothing() -> None:
    out = streamed(dialects.CHAT, b': LEAK\n\nid: 7\nretry: 5\n\ndata: {"choices":\ndata: []}\n\n')
    assert out == b':\n\ndata: {"choices":[]}\n\n'


def test_half_a_surrogate_pair_does_not_end_an_answer() -> None:
    event = b'data: {"choices":[{"delta":{"content":"a\\ud800b"}}]}\n\n'
    assert b'"a?b"' in streamed(dialects.CHAT, event)


class Holding:
    """A screen that lets nothing go before the end, and stops at a word."""

    def __init__(self) -> None:
        self.held: list[dict[str, Any]] = []

    def document(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "id": "seen"}

    def event(self, document: dict[str, Any], _size: int) -> Iterable[dict[str, Any]]:
        if "STOP" in str(document):
            raise AirlockError("stopped.")
        self.held.append(document)
        return []

    def finish(self) -> Iterable[dict[str, Any]]:
        return self.held


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_screen_sees_clean_events_and_decides_when_they_leave(dialect: str) -> None:
    data = answers.stream(dialect)
    screen = Holding()
    events = EventCleaner(cleaner(dialect, screen=screen))
    out = events.feed(data.partition(b"data: [DONE]")[0])
    assert out == b""
    assert hides(json.dumps(screen.held), dialect)
    out = events.feed(data[len(data.partition(b"data: [DONE]")[0]) :]) + events.finish()
    assert out == streamed(dialect, data)


def test_a_screen_may_change_a_whole_answer_and_stop_a_stream() -> None:
    data = json.dumps(answers.WHOLE[dialects.CHAT]).encode()
    cleaned = cleaner(dialects.CHAT, screen=Holding()).document(data, Largest(100_000, 10_000))
    assert json.loads(cleaned)["id"] == "seen"
    with pytest.raises(AirlockError, match="stopped"):
        EventCleaner(cleaner(dialects.CHAT, screen=Holding())).feed(
            b'data: {"choices":[{"delta":{"content":"STOP"}}]}\n\n'
        )


@given(st.sampled_from(STREAMS), st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(dialect: str, data: bytes) -> None:
    for chunk in (data, b"data: " + data + b"\n\n", data + b"\n\n"):
        try:
            streamed(dialect, chunk)
        except AirlockError:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "type", "message", "delta", "content", "usage", "output", "done", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(STREAMS),
    st.dictionaries(
        st.sampled_from(
            [
                "choices",
                "message",
                "content",
                "delta",
                "usage",
                "response",
                "item",
                "done",
                "timings",
            ]
        ),
        JSON,
    ),
)
def test_whatever_a_backend_says_no_unlisted_member_leaves(dialect: str, document: Any) -> None:
    kinds = {"openai_responses": "response.completed", "anthropic_messages": "message_start"}
    document = {**document, "type": kinds.get(dialect, "x"), "timings": {"a": 1}}
    data = json.dumps(document).encode()
    data = data + b"\n" if dialect in dialects.LINES else b"data: " + data + b"\n\n"
    try:
        out = streamed(dialect, data)
    except AirlockError:
        return
    assert b"timings" not in out
    assert b'"x":' not in out
