# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers as backends give them, whole and streamed, with what no client may see marked LEAK.

Taken from llama.cpp's server (build 11549), and for Ollama from its documentation.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import dialects

_TIMINGS = {"cache_n": 6, "prompt_n": 1, "prompt_ms": 1.5, "predicted_n": 3, "note": "LEAK"}
_USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 6, "note": "LEAK"},
}
_CALL = {
    "id": "ID",
    "index": 0,
    "type": "function",
    "function": {"name": "NAME", "arguments": "ARGS"},
}
_LOGPROBS = {
    "content": [{"id": 5, "token": "TEXT", "bytes": [1], "logprob": -0.5, "top_logprobs": []}]
}
_BASE = {
    "id": "c1",
    "created": 1,
    "model": "/var/lib/LEAK.gguf",
    "system_fingerprint": "LEAK",
    "timings": _TIMINGS,
    "prompt": "LEAK",
    "generation_settings": {"seed": "LEAK"},
    "id_slot": 1,
    "__verbose": {"prompt": "LEAK"},
}
_SAID = {
    "role": "assistant",
    "reasoning_content": "THOUGHT",
    "content": "TEXT",
    "tool_calls": [_CALL],
}
_RESPONSES_USAGE = {
    "input_tokens": 7,
    "output_tokens": 3,
    "total_tokens": 10,
    "input_tokens_details": {"cached_tokens": 6, "note": "LEAK"},
}
_PART = {"type": "output_text", "annotations": [{"note": "LEAK"}], "logprobs": [], "text": "TEXT"}
_ITEMS = [
    {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "THOUGHT"}],
        "encrypted_content": "LEAK",
    },
    {
        "type": "message",
        "id": "msg",
        "role": "assistant",
        "status": "completed",
        "content": [_PART],
    },
    {
        "type": "function_call",
        "call_id": "ID",
        "name": "NAME",
        "arguments": "ARGS",
        "status": "completed",
    },
]
_RESPONSE = {
    "id": "r1",
    "object": "response",
    "model": "/var/lib/LEAK.gguf",
    "status": "completed",
    "instructions": "LEAK",
    "output": _ITEMS,
    "usage": _RESPONSES_USAGE,
}
_ANTHROPIC = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "/var/lib/LEAK.gguf",
    "content": [
        {"type": "thinking", "thinking": "THOUGHT", "signature": ""},
        {"type": "text", "text": "TEXT"},
        {"type": "tool_use", "id": "ID", "name": "NAME", "input": {"a": ["ARGS", 1], "KEY": None}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"cache_read_input_tokens": 6, "input_tokens": 1, "output_tokens": 3, "note": "LEAK"},
}
_OLLAMA = {
    "model": "/var/lib/LEAK.gguf",
    "created_at": "2026-11-21T00:00:00Z",
    "done": True,
    "done_reason": "stop",
    "context": [1, 2, 3],
    "total_duration": 1,
    "load_duration": 1,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 1,
    "eval_count": 3,
    "eval_duration": 1,
    "_debug_info": {"rendered_template": "LEAK"},
}
_OLLAMA_CALL = {"function": {"index": 0, "name": "NAME", "arguments": {"a": "ARGS"}}}
_OLLAMA_SAID = {
    "role": "assistant",
    "thinking": "THOUGHT",
    "content": "TEXT",
    "tool_calls": [_OLLAMA_CALL],
}

WHOLE: dict[str, dict[str, Any]] = {
    dialects.CHAT: {
        **_BASE,
        "object": "chat.completion",
        "choices": [
            {"index": index, "finish_reason": "stop", "message": _SAID, "logprobs": _LOGPROBS}
            for index in (0, 1)
        ],
        "usage": _USAGE,
    },
    dialects.COMPLETIONS: {
        **_BASE,
        "object": "text_completion",
        "choices": [{"index": 0, "text": "TEXT", "logprobs": _LOGPROBS, "finish_reason": "stop"}],
        "usage": _USAGE,
    },
    dialects.EMBEDDINGS: {
        "object": "list",
        "model": "/var/lib/LEAK.gguf",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    },
    dialects.RESPONSES: _RESPONSE,
    dialects.MESSAGES: _ANTHROPIC,
    dialects.OLLAMA_CHAT: {**_OLLAMA, "message": _OLLAMA_SAID},
    dialects.OLLAMA_GENERATE: {**_OLLAMA, "response": "TEXT", "thinking": "THOUGHT"},
}


def _chunks(kind: str, name: str, pieces: list[Any]) -> list[dict[str, Any]]:
    base = {**_BASE, "object": kind}
    said = [
        {
            **base,
            "choices": [{"index": index, "finish_reason": None, name: piece, "logprobs": None}],
        }
        for piece in pieces
        for index in (0, 1)
    ]
    return [*said, {**base, "choices": [], "usage": _USAGE}]


_PLACE = {"item_id": "msg", "output_index": 0, "content_index": 0, "sequence_number": 1}
STREAMED: dict[str, list[dict[str, Any]]] = {
    dialects.CHAT: _chunks(
        "chat.completion.chunk",
        "delta",
        [
            {"role": "assistant", "content": None},
            {"reasoning_content": "THOUGHT"},
            {"content": "TE"},
            {"content": "XT"},
            {"tool_calls": [_CALL]},
        ],
    ),
    dialects.COMPLETIONS: _chunks("text_completion", "text", ["TE", "XT"]),
    dialects.RESPONSES: [
        {
            "type": "response.created",
            "response": {**_RESPONSE, "output": [], "status": "in_progress"},
        },
        {"type": "response.output_item.added", "item": {**_ITEMS[1], "content": []}},
        {"type": "response.content_part.added", **_PLACE, "part": {**_PART, "text": ""}},
        {"type": "response.reasoning_text.delta", **_PLACE, "item_id": "rs", "delta": "THOUGHT"},
        {"type": "response.output_text.delta", **_PLACE, "delta": "TE", "note": "LEAK"},
        {"type": "response.output_text.delta", **_PLACE, "delta": "XT"},
        {"type": "response.output_text.done", **_PLACE, "text": "TEXT"},
        {"type": "response.content_part.done", **_PLACE, "part": _PART},
        {"type": "response.function_call_arguments.delta", "item_id": "fc", "delta": "ARGS"},
        {
            "type": "response.function_call_arguments.done",
            "item_id": "fc",
            "arguments": "ARGS",
            "name": "NAME",
        },
        {"type": "response.output_item.done", "item": _ITEMS[2]},
        {"type": "response.completed", "response": _RESPONSE, "timings": _TIMINGS},
    ],
    dialects.MESSAGES: [
        {"type": "message_start", "message": {**_ANTHROPIC, "content": [], "stop_reason": None}},
        {"type": "ping"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "THOUGHT"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": ""},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "TE"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "XT"}},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "ID", "name": "NAME"},
        },
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "ARGS"},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None, "note": "LEAK"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop", "timings": _TIMINGS},
    ],
    dialects.OLLAMA_CHAT: [
        {
            "model": "LEAK",
            "done": False,
            "message": {"role": "assistant", "thinking": "THOUGHT", "content": ""},
        },
        {"model": "LEAK", "done": False, "message": {"role": "assistant", "content": "TE"}},
        {"model": "LEAK", "done": False, "message": {"role": "assistant", "content": "XT"}},
        {
            "model": "LEAK",
            "done": False,
            "message": {"role": "assistant", "content": "", "tool_calls": [_OLLAMA_CALL]},
        },
        {**_OLLAMA, "message": {"role": "assistant", "content": ""}},
    ],
    dialects.OLLAMA_GENERATE: [
        {"model": "LEAK", "done": False, "response": "", "thinking": "THOUGHT"},
        {"model": "LEAK", "done": False, "response": "TE"},
        {"model": "LEAK", "done": False, "response": "XT"},
        {**_OLLAMA, "response": ""},
    ],
}


def stream(dialect: str) -> bytes:
    """Return the bytes of a streamed answer."""
    lines = []
    for document in STREAMED[dialect]:
        if dialect in dialects.LINES:
            lines.append(f"{json.dumps(document)}\n")
        elif dialect in dialects.NAMED_EVENTS:
            lines.append(f"event: {document['type']}\r\ndata: {json.dumps(document)}\r\n\r\n")
        else:
            lines.append(f"data: {json.dumps(document)}\n\n")
    if dialect in (dialects.CHAT, dialects.COMPLETIONS):
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()
