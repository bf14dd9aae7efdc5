# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.tests.corpus import answers

WORDS = ("TEXT", "THOUGHT", "ARGS", "NAME", "ID", "KEY")
STREAMS = [dialect for dialect in dialects.DIALECTS if dialect in answers.STREAMED]


def found(
    dialect: str, document: dict[str, Any], *, streamed: bool
) -> dict[tuple[str, bool], set[str]]:
    texts: dict[tuple[str, bool], set[str]] = {}
    for field in dialects.texts(dialect, document, streamed=streamed):
        texts.setdefault((field.kind, field.whole), set()).add(field.get())
    return texts


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
def test_every_text_of_a_whole_answer_is_found_and_can_be_changed(dialect: str) -> None:
    document = copy.deepcopy(answers.WHOLE[dialect])
    fields = list(dialects.texts(dialect, document))
    assert all(field.whole for field in fields)
    for field in fields:
        field.set("*")
    text = json.dumps(document).replace("LEAK", "")
    for _index, holder in list(dialects.logprobs(dialect, document)):
        holder.pop("logprobs")
    assert not [word for word in WORDS if f'"{word}"' in json.dumps(document)], text
    if dialect != dialects.EMBEDDINGS:
        assert found(dialect, document, streamed=False)[dialects.CONTENT, True] == {"*"}


@pytest.mark.parametrize("dialect", STREAMS)
def test_the_pieces_of_a_stream_join_to_its_texts(dialect: str) -> None:
    joined: dict[tuple[int, str, str], str] = {}
    repeated: set[str] = set()
    for document in answers.STREAMED[dialect]:
        for field in dialects.texts(dialect, document, streamed=True):
            if field.whole:
                repeated.add(field.get())
            else:
                key = (field.index, field.kind, field.part)
                joined[key] = joined.get(key, "") + field.get()
    by_kind: dict[str, set[str]] = {}
    for (_index, kind, _part), text in joined.items():
        by_kind.setdefault(kind, set()).add(text)
    assert by_kind[dialects.CONTENT] == {"TEXT"}
    if dialect != dialects.COMPLETIONS:
        assert by_kind[dialects.REASONING] == {"THOUGHT"}
    if dialect == dialects.OLLAMA_CHAT:
        assert {"ARGS", "NAME", "a"} <= repeated
    elif dialect not in (dialects.COMPLETIONS, dialects.OLLAMA_GENERATE):
        assert by_kind[dialects.ARGUMENTS] == {"ARGS"}
    if dialect in (dialects.CHAT, dialects.COMPLETIONS):
        assert {index for index, _kind, _part in joined} == {0, 1}


def test_texts_of_different_items_are_not_mixed_up() -> None:
    keys = set()
    for item, part in (("a", 0), ("a", 1), ("b", 0)):
        event = {
            "type": "response.output_text.delta",
            "item_id": item,
            "content_index": part,
            "delta": "x",
        }
        keys |= {
            (field.index, field.kind, field.part)
            for field in dialects.texts(dialects.RESPONSES, event, streamed=True)
            if not field.whole
        }
    assert len(keys) == 3


def test_a_renamed_argument_keeps_its_value_and_its_place() -> None:
    document = {"content": [{"type": "tool_use", "input": {"a": 1, "b": {"c": "x"}, "d": 2}}]}
    for field in dialects.texts(dialects.MESSAGES, document):
        if field.get() == "b":
            field.set("*")
    assert list(document["content"][0]["input"].items()) == [("a", 1), ("*", {"c": "x"}), ("d", 2)]


@pytest.mark.parametrize("dialect", dialects.DIALECTS)
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"choices": None, "content": 5, "message": [], "delta": "", "output": [None], "item": 1},
        {"choices": [{"message": {"content": 5, "tool_calls": [1, {"function": "x"}]}}]},
        {"content": [{"text": None, "input": None}], "message": {"content": {}}},
    ],
)
def test_a_document_of_another_form_has_no_texts(dialect: str, document: dict[str, Any]) -> None:
    for streamed in (True, False):
        texts = list(dialects.texts(dialect, copy.deepcopy(document), streamed=streamed))
        assert [field.get() for field in texts] in ([], [""])
    assert list(dialects.logprobs(dialect, document)) == []


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            dialects.CHAT,
            b'{"error":{"message":"no","type":"server_error","code":"c","param":"p"}}',
        ),
        (dialects.MESSAGES, b'{"type":"error","error":{"type":"api_error","message":"no"}}'),
        (dialects.OLLAMA_CHAT, b'{"error":"no"}'),
    ],
)
def test_an_error_has_the_form_of_its_dialect(dialect: str, expected: bytes) -> None:
    assert dialects.encode(dialects.error(dialect, "server_error", "c", "no", "p")) == expected


@pytest.mark.parametrize("dialect", STREAMS)
def test_the_event_of_a_broken_stream_is_framed_as_its_dialect_wants(dialect: str) -> None:
    event = dialects.broken(dialect)
    assert b"broke off" in event
    if dialect in dialects.LINES:
        assert event.count(b"\n") == 1 and "error" in json.loads(event)
    else:
        assert event.endswith(b"\n\n")
        assert event.startswith(b"event: error\n") == (dialect in dialects.NAMED_EVENTS)
