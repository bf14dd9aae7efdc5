# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams of every dialect, made of pieces of text, and what a client reads from them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import dialects

Pieces = Sequence[Sequence[str]]  # of each choice, the pieces of its text
Texts = dict[tuple[int, str], str]  # by choice and kind of text

CONTENT, REASONING, ARGUMENTS = dialects.CONTENT, dialects.REASONING, dialects.ARGUMENTS

# What each dialect can say in pieces, and whether an answer of it has several choices.
KINDS = {
    dialects.CHAT: (CONTENT, REASONING, ARGUMENTS),
    dialects.COMPLETIONS: (CONTENT,),
    dialects.RESPONSES: (CONTENT, REASONING, ARGUMENTS),
    dialects.MESSAGES: (CONTENT, REASONING, ARGUMENTS),
    dialects.OLLAMA_CHAT: (CONTENT, REASONING),
    dialects.OLLAMA_GENERATE: (CONTENT, REASONING),
}
CASES = [
    (dialect, kind, count)
    for dialect, kinds in KINDS.items()
    for kind in kinds
    for count in ((1,) if dialect in dialects.LINES else (1, 2))
]


def stream(dialect: str, kind: str, pieces: Pieces) -> bytes:
    """Return the bytes of a stream; the pieces of several choices take turns where they may."""
    events = list(_MAKERS[dialect](kind, pieces))
    if dialect in dialects.LINES:
        return b"".join(_json(event) + b"\n" for event in events)
    named = dialect in dialects.NAMED_EVENTS
    data = b"".join(
        (b"event: %s\n" % event["type"].encode() if named else b"")
        + b"data: "
        + _json(event)
        + b"\n\n"
        for event in events
    )
    return data if named else data + b"data: [DONE]\n\n"


def document(dialect: str, kind: str, texts: Sequence[str]) -> bytes:
    """Return an answer that is not streamed."""
    return _json(_DOCUMENTS[dialect](kind, texts))


def read(dialect: str, data: bytes) -> Texts:
    """Return the texts that a client puts together from a stream."""
    texts: Texts = {}
    for event in events(dialect, data):
        for index, kind, text in _READERS[dialect](event):
            texts[index, kind] = texts.get((index, kind), "") + text
    return texts


def events(dialect: str, data: bytes) -> list[dict[str, Any]]:
    """Return the documents of a stream."""
    if dialect in dialects.LINES:
        return [json.loads(line) for line in data.decode().splitlines() if line]
    lines = [line for line in data.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]


def _json(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def _turns(pieces: Pieces) -> Iterator[tuple[int, str]]:
    for row in itertools.zip_longest(*pieces):
        yield from ((index, piece) for index, piece in enumerate(row) if piece is not None)


def _choice(index: int, finish: str | None, **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": index, "finish_reason": finish, **fields}]}  # fmt: skip


def _chat(kind: str, pieces: Pieces) -> Iterator[dict[str, Any]]:
    for index in range(len(pieces)):
        yield _choice(index, None, delta={"role": "assistant", "content": ""})
    started: set[int] = set()
    for index, piece in _turns(pieces):
        if kind == ARGUMENTS:
            call: dict[str, Any] = {"index": 0, "function": {"arguments": piece}}
            if index not in started:
                call.update(id="call_1", type="function")
                call["function"]["name"] = "look"
                started.add(index)
            yield _choice(index, None, delta={"tool_calls": [call]})
        else:
            name = "content" if kind == CONTENT else "reasoning_content"
            yield _choice(index, None, delta={name: piece})
    for index in range(len(pieces)):
        yield _choice(index, "stop", delta={})


def _completions(_kind: str, pieces: Pieces) -> Iterator[dict[str, Any]]:
    for index, piece in _turns(pieces):
        yield {**_choice(index, None, text=piece), "object": "text_completion"}
    for index in range(len(pieces)):
        yield {**_choice(index, "stop", text=""), "object": "text_completion"}


_RESPONSES = {
    CONTENT: ("output_text", "content_index"),
    REASONING: ("reasoning_summary_text", "summary_index"),
    ARGUMENTS: ("function_call_arguments", ""),
}


def _responses(kind: str, pieces: Pieces) -> Iterator[dict[str, Any]]:
    name, index_name = _RESPONSES[kind]
    numbers = itertools.count()

    def event(what: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.{what}", "sequence_number": next(numbers), **fields}

    yield event(
        "created",
        response={"id": "r1", "object": "response", "status": "in_progress", "output": []},
    )
    items = []
    for index, choice in enumerate(pieces):
        text = "".join(choice)
        place = {"output_index": index, "item_id": f"i{index}"}
        if index_name:
            place[index_name] = 0
        item: dict[str, Any] = {"id": f"i{index}", "status": "completed"}
        if kind == CONTENT:
            item.update(
                type="message", role="assistant", content=[{"type": "output_text", "text": text}]
            )
        elif kind == REASONING:
            item.update(type="reasoning", summary=[{"type": "summary_text", "text": text}])
        else:
            item.update(type="function_call", call_id="call_1", name="look", arguments=text)
        for piece in choice:
            yield event(f"{name}.delta", **place, delta=piece)
        yield event(f"{name}.done", **place, **{"arguments" if kind == ARGUMENTS else "text": text})
        yield event("output_item.done", output_index=index, item=item)
        items.append(item)
    response = {"id": "r1", "object": "response", "status": "completed", "output": items}
    yield event("completed", response=response)


_BLOCKS = {
    CONTENT: ({"type": "text", "text": ""}, "text_delta", "text"),
    REASONING: ({"type": "thinking", "thinking": ""}, "thinking_delta", "thinking"),
    ARGUMENTS: (
        {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        "input_json_delta",
        "partial_json",
    ),
}


def _messages(kind: str, pieces: Pieces) -> Iterator[dict[str, Any]]:
    block, delta, name = _BLOCKS[kind]
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [],
               "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    yield {"type": "message_start", "message": message}
    for index, choice in enumerate(pieces):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for piece in choice:
            yield {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": delta, name: piece},
            }
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 2},
    }
    yield {"type": "message_stop"}


def _ollama(holder: str, content: str) -> Callable[[str, Pieces], Iterator[dict[str, Any]]]:
    def make(kind: str, pieces: Pieces) -> Iterator[dict[str, Any]]:
        def line(done: bool, **fields: Any) -> dict[str, Any]:
            inner = {"message": {"role": "assistant", **fields}} if holder else fields
            return {"model": "m", "created_at": "2026-11-21T00:00:00Z", **inner, "done": done}

        for piece in pieces[0]:
            yield line(
                False, **({content: piece} if kind == CONTENT else {content: "", "thinking": piece})
            )
        last = {content: ""}
        yield {**line(True, **last), "done_reason": "stop"}

    return make


def _read_choices(event: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    for choice in event["choices"]:
        delta = choice.get("delta") or {}
        yield choice["index"], CONTENT, (choice.get("text") or "") + (delta.get("content") or "")
        yield choice["index"], REASONING, delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls") or []:
            yield choice["index"], ARGUMENTS, call["function"]["arguments"]


def _read_responses(event: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    for kind, (name, _index) in _RESPONSES.items():
        if event["type"] == f"response.{name}.delta":
            yield event["output_index"], kind, event["delta"]


def _read_messages(event: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    if event["type"] == "content_block_delta":
        for kind, (_block, delta, name) in _BLOCKS.items():
            if event["delta"]["type"] == delta:
                yield event["index"], kind, event["delta"][name]


def _read_ollama(event: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    holder = event.get("message", event)
    yield 0, CONTENT, holder.get("content", "") + holder.get("response", "")
    yield 0, REASONING, holder.get("thinking", "")


_MAKERS: dict[str, Callable[[str, Pieces], Iterator[dict[str, Any]]]] = {
    dialects.CHAT: _chat,
    dialects.COMPLETIONS: _completions,
    dialects.RESPONSES: _responses,
    dialects.MESSAGES: _messages,
    dialects.OLLAMA_CHAT: _ollama("message", "content"),
    dialects.OLLAMA_GENERATE: _ollama("", "response"),
}
_READERS: dict[str, Callable[[dict[str, Any]], Iterator[tuple[int, str, str]]]] = {
    dialects.CHAT: _read_choices,
    dialects.COMPLETIONS: _read_choices,
    dialects.RESPONSES: _read_responses,
    dialects.MESSAGES: _read_messages,
    dialects.OLLAMA_CHAT: _read_ollama,
    dialects.OLLAMA_GENERATE: _read_ollama,
}


def _chat_document(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    def message(text: str) -> dict[str, Any]:
        if kind == ARGUMENTS:
            call = {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look", "arguments": text},
            }
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        return {
            "role": "assistant",
            "content": "",
            "content" if kind == CONTENT else "reasoning_content": text,
        }

    choices = [{"index": index, "finish_reason": "stop", "message": message(text)}
               for index, text in enumerate(texts)]  # fmt: skip
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}


def _last_response(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    response: dict[str, Any] = list(_responses(kind, [[text] for text in texts]))[-1]["response"]
    return response


def _message_document(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    block, _delta, name = _BLOCKS[kind]
    blocks = [
        {**block, "input": {"query": text}} if kind == ARGUMENTS else {**block, name: text}
        for text in texts
    ]
    return {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": blocks}


_DOCUMENTS: dict[str, Callable[[str, Sequence[str]], dict[str, Any]]] = {
    dialects.CHAT: _chat_document,
    dialects.COMPLETIONS: lambda _kind, texts: {
        "id": "c1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"index": index, "text": text, "finish_reason": "stop"} for index, text in enumerate(texts)],
    },
    dialects.RESPONSES: _last_response,
    dialects.MESSAGES: _message_document,
    dialects.OLLAMA_CHAT: lambda kind, texts: {**next(_MAKERS[dialects.OLLAMA_CHAT](kind, [texts])), "done": True},
    dialects.OLLAMA_GENERATE: lambda kind, texts: {
        **next(_MAKERS[dialects.OLLAMA_GENERATE](kind, [texts])), "done": True
    },
}  # fmt: skip
