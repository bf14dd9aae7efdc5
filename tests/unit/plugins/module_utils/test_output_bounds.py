# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hostile stream can make the filter keep, and do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.output_answer import AnswerFilter
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    Cleaner,
    EventCleaner,
    Tokens,
)

from .planted import RULES


def events(dialect: str) -> EventCleaner:
    return EventCleaner(Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect)))


def said(index: int, **more: Any) -> bytes:
    return dialects.frame(dialects.RESPONSES, {
        "type": "response.output_text.delta", "item_id": f"i{index}", "output_index": index, "content_index": 0,
        "delta": "x", **more,
    })  # fmt: skip


def ended(index: int) -> bytes:
    return said(index, type="response.output_text.done", text="x")


def test_a_stream_has_so_many_open_texts_and_no_more() -> None:
    engine = events(dialects.RESPONSES)
    for index in range(64):
        engine.feed(said(index))
    with pytest.raises(AirlockError, match="too many texts open"):
        engine.feed(said(64))


def test_texts_that_have_ended_do_not_count() -> None:
    engine = events(dialects.RESPONSES)
    began = time.process_time()
    for index in range(4000):
        engine.feed(said(index) + ended(index))
    assert time.process_time() - began < 3  # a quarter of a second on an idle machine


def test_token_probabilities_open_texts_too() -> None:
    engine = events(dialects.RESPONSES)
    with pytest.raises(AirlockError, match="too many texts open"):
        for index in range(65):
            engine.feed(said(index, logprobs=[{"token": "x", "logprob": 0}]) + ended(index))


def test_events_are_kept_for_a_while_and_not_without_bound() -> None:
    engine = events(dialects.RESPONSES)
    engine.feed(said(0, delta="x" * 500_000))  # of which no text is kept
    with pytest.raises(AirlockError, match="too much open"):
        for index in range(64):
            engine.feed(said(index, item_id="i" * 3000))


def test_a_line_that_comes_byte_by_byte_is_not_copied_each_time() -> None:
    engine = EventCleaner(Cleaner(dialects.CHAT, "m", Tokens()))
    engine.feed(b": " + b"x" * 900_000)
    began = time.process_time()
    for _time in range(20_000):
        engine.feed(b"x")
    assert time.process_time() - began < 1  # 6 s with a copy for each
    assert engine.waiting == 920_002
    engine.feed(b"\n")
    assert engine.waiting == 0


def test_lines_that_say_nothing_count() -> None:
    engine = EventCleaner(Cleaner(dialects.CHAT, "m", Tokens()))
    with pytest.raises(AirlockError, match="without end"):
        for _time in range(11):
            engine.feed(b"data:\n" * 100_000)
