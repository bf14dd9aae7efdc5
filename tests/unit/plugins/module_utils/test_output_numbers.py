# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers where an answer has texts, and in arguments that are JSON values."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.plugins.module_utils.output_answer import (
    AnswerFilter,
    Stopped,
)
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    Cleaner,
    EventCleaner,
    Largest,
    Tokens,
)
from ansible_collections.homelab.airlock.tests.corpus import answers

from . import streams_of
from .planted import PLANTED, RULES, masked

CARD = int(PLANTED["card, in one"][0])
MASK = masked("payment-card")
ARGUMENTS = {
    "card": CARD, "list": [1, CARD, -CARD, True, None, 2.5], "float": float(CARD), "inner": {"a": [[CARD]]}, "n": 12,
}  # fmt: skip
CLEAN = {
    "card": MASK, "list": [1, MASK, f"-{MASK}", True, None, 2.5], "float": f"{MASK}.0", "inner": {"a": [[MASK]]},
    "n": 12,
}  # fmt: skip

BLOCK = {"type": "tool_use", "id": "t1", "name": "pay", "input": ARGUMENTS}
CALLS = {"role": "assistant", "tool_calls": [{"function": {"name": "pay", "arguments": ARGUMENTS}}]}
WHOLE = {
    dialects.MESSAGES: {"type": "message", "content": [BLOCK]},
    dialects.OLLAMA_CHAT: {"message": CALLS, "done": True},
}
EVENT = {
    dialects.MESSAGES: {"type": "content_block_start", "index": 0, "content_block": BLOCK},
    dialects.OLLAMA_CHAT: {"message": CALLS, "done": False},
}
DIALECTS = pytest.mark.parametrize("dialect", WHOLE)


def filtered(dialect: str, chunks: list[bytes]) -> bytes:
    events = EventCleaner(Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect)))
    return b"".join(map(events.feed, chunks)) + events.finish()


def arguments(dialect: str, document: dict[str, Any]) -> Any:
    if dialect == dialects.OLLAMA_CHAT:
        return document["message"]["tool_calls"][0]["function"]["arguments"]
    return (document.get("content_block") or document["content"][0])["input"]


@DIALECTS
def test_numbers_in_arguments_of_a_whole_answer_are_masked(dialect: str) -> None:
    for stop in (False, True):
        screen = AnswerFilter(RULES, dialect, stop=stop)
        cleaner = Cleaner(dialect, "m", Tokens(), screen)
        data = json.dumps(WHOLE[dialect]).encode()
        if stop:
            with pytest.raises(Stopped):
                cleaner.document(data, Largest(10**6, 10**5))
        else:
            answer = json.loads(cleaner.document(data, Largest(10**6, 10**5)))
            assert arguments(dialect, answer) == CLEAN
        assert screen.found == {"payment-card"}


@DIALECTS
def test_numbers_in_arguments_of_a_stream_are_masked_at_every_cut(dialect: str) -> None:
    data = dialects.frame(dialect, EVENT[dialect])
    for cut in range(len(data)):
        events = streams_of.events(dialect, filtered(dialect, [data[:cut], data[cut:]]))
        assert arguments(dialect, events[0]) == CLEAN


@DIALECTS
def test_other_numbers_stay_numbers(dialect: str) -> None:
    event = copy.deepcopy(EVENT[dialect])
    numbers = {"a": 1, "b": -2.5e-7, "c": CARD + 1, "d": [2**70, 0], "e": False}
    arguments(dialect, event).clear()
    arguments(dialect, event).update(numbers)
    data = filtered(dialect, [dialects.frame(dialect, event)])
    assert arguments(dialect, streams_of.events(dialect, data)[0]) == numbers


def numbered(dialect: str, document: Any, streamed: bool) -> Any:
    """Return an answer that has the card's number in the place of each text."""
    document = copy.deepcopy(document)
    for field in list(dialects.texts(dialect, document, streamed=streamed)):
        if not isinstance(field, (dialects.KeyField, dialects.NumberField)):
            field.set(CARD)  # type: ignore[arg-type]
    return document


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_a_number_is_no_text_of_a_whole_answer(dialect: str) -> None:
    cleaner = Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect))
    data = json.dumps(numbered(dialect, answers.WHOLE[dialect], False)).encode()
    assert str(CARD).encode() not in cleaner.document(data, Largest(10**6, 10**5))


@pytest.mark.parametrize("dialect", streams_of.KINDS)
def test_a_number_is_no_text_of_a_stream(dialect: str) -> None:
    for document in answers.STREAMED[dialect]:
        frame = dialects.frame(dialect, numbered(dialect, document, True))
        assert str(CARD).encode() not in filtered(dialect, [frame])
