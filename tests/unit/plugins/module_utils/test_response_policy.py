# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import response_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    EventCleaner,
    Tokens,
)

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 6, "audio_tokens": 0},
}


def test_a_whole_answer_loses_what_tells_of_others() -> None:
    tokens = Tokens()
    data = json.dumps({"id": "x", "usage": USAGE, "timings": {"cache_n": 6}}).encode()
    cleaned = json.loads(response_policy.clean_document(data, tokens, max_bytes=10_000))
    assert cleaned == {
        "id": "x",
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "prompt_tokens_details": {"audio_tokens": 0},
        },
    }
    assert tokens == Tokens(7, 3)


@pytest.mark.parametrize("data", [b"", b"[]", b"<html>", b'{"a":1,"a":2}', b" " * 10_001])
def test_an_answer_that_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(AirlockError):
        response_policy.clean_document(data, Tokens(), max_bytes=10_000)


STREAM = (
    b": comment\n\n"
    + b'data: {"choices":[{"delta":{"content":"\xc3\xa4\\"timings\\" \\n"}}]}\n\n'
    + b'data: {"choices":[],"timings":{"prompt_n":7,"predicted_n":3,"cache_n":6}}\r\n\r\n'
    + b"data: "
    + json.dumps({"usage": USAGE}).encode()
    + b"\n\ndata: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_a_stream_comes_out_the_same_however_it_is_cut(cuts: list[int]) -> None:
    tokens = Tokens()
    cleaner = EventCleaner(tokens)
    edges = [0, *cuts, len(STREAM)]
    out = b"".join(cleaner.feed(STREAM[a:b]) for a, b in itertools.pairwise(edges))
    cleaner.finish()
    assert out == EventCleaner(Tokens()).feed(STREAM)
    assert b"cached_tokens" not in out
    assert b'"timings"' not in out.replace(b'\\"timings\\"', b"")
    assert out.endswith(b"data: [DONE]\n\n")
    assert tokens == Tokens(7, 3)


def test_a_complete_line_is_never_held_back() -> None:
    cleaner = EventCleaner(Tokens())
    assert cleaner.feed(b'data: {"a":1}\n\ndata: {"b"') == b'data: {"a":1}\n\n'
    assert cleaner.feed(b":2}\n") == b'data: {"b":2}\n'


@pytest.mark.parametrize(
    "chunk",
    [
        b'event: {"timings":1}\n',
        b'data: {"timings":\n',
        b'data: ["usage"]\n',
        b'data: {"cached_tokens"}\rdata: x\n',
        b"x" * (response_policy.MAX_EVENT_BYTES + 1),
    ],
)
def test_a_stream_that_cannot_be_understood_stops(chunk: bytes) -> None:
    with pytest.raises(AirlockError):
        EventCleaner(Tokens()).feed(chunk)


def test_a_stream_that_breaks_off_inside_a_line_is_an_error() -> None:
    cleaner = EventCleaner(Tokens())
    cleaner.feed(b"data: {")
    with pytest.raises(AirlockError, match="ended inside"):
        cleaner.finish()
