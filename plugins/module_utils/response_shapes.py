# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of an answer that a client may see, for each dialect and type of event.

A shape is ``SCALAR`` (text, number, boolean), ``TEXT`` (of the model, and nothing else: a number there
would be one that no filter reads), ``JSON`` (anything), ``[SHAPE]`` (a list), ``{NAME: SHAPE}`` (an
object; what it does not name is left out) or ``(MEMBER, {VALUE: SHAPE})`` (an object whose member says
which shape it has; an unknown value is refused). Anything may be null.

Left out are timings, counts of cached tokens, the prompt, settings of the backend, and in Ollama's
dialects the context: token ids of all that was said, and counts that shrink with a warm cache.
"""

from __future__ import annotations

from typing import Any, Final

from . import dialects
from .errors import AirlockError

SCALAR: Final = "scalar"
TEXT: Final = "text"
JSON: Final = "json"


def pruned(value: Any, shape: Any) -> Any:
    """Return what ``shape`` lets through of ``value``. Raises AirlockError for an unknown type."""
    if value is None or shape is JSON:
        return value
    if shape is SCALAR:
        return None if isinstance(value, (dict, list)) else value
    if shape is TEXT:
        return value if isinstance(value, str) else None
    if isinstance(shape, list):
        return [pruned(item, shape[0]) for item in value] if isinstance(value, list) else None
    if not isinstance(value, dict):
        return None
    if isinstance(shape, tuple):
        member, variants = shape
        shape = variants.get(value.get(member)) if isinstance(value.get(member), str) else None
        if shape is None:
            raise AirlockError(f"the backend sent something of an unknown {member}.")
    return {name: pruned(item, shape[name]) for name, item in value.items() if name in shape}


def _all(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, SCALAR)


def _texts(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, TEXT)


_TOKEN = {"token": TEXT, "logprob": SCALAR, "bytes": [SCALAR]}
_LOGPROBS = {
    "content": [{**_TOKEN, "top_logprobs": [_TOKEN]}],
    "tokens": [TEXT],
    "token_logprobs": [SCALAR],
    "text_offset": [SCALAR],
    "top_logprobs": [JSON],
}
_CALLS = [{"id": TEXT, **_all("index", "type"), "function": _texts("name", "arguments")}]
_MESSAGE = {
    "role": SCALAR,
    **_texts("content", "reasoning_content", "reasoning", "refusal"),
    "tool_calls": _CALLS,
}
_REASONED = _all("reasoning_tokens")
_OPENAI = {
    **_all("id", "object", "created", "model"),
    "usage": {
        **_all("prompt_tokens", "completion_tokens", "total_tokens"),
        "completion_tokens_details": _REASONED,
    },
}
_CHOICE = {**_all("index", "finish_reason"), "logprobs": _LOGPROBS}
_CHAT = {**_OPENAI, "choices": [{**_CHOICE, "message": _MESSAGE}]}
_CHAT_EVENT = {**_OPENAI, "choices": [{**_CHOICE, "delta": _MESSAGE}]}
_COMPLETION = {**_OPENAI, "choices": [{**_CHOICE, "text": TEXT}]}
_EMBEDDING = {**_OPENAI, "data": [{**_all("object", "index"), "embedding": JSON}]}

_TYPED_TEXT = {"type": SCALAR, "text": TEXT}
_PART = (
    "type",
    {
        "output_text": {
            **_TYPED_TEXT,
            "annotations": [{}],
            "logprobs": [{**_TOKEN, "top_logprobs": [_TOKEN]}],
        },
        "refusal": {"type": SCALAR, "refusal": TEXT},
        "reasoning_text": _TYPED_TEXT,
        "summary_text": _TYPED_TEXT,
    },
)
_ITEM = (
    "type",
    {
        "message": {**_all("type", "role", "status"), "id": TEXT, "content": [_PART]},
        "reasoning": {**_all("type", "status"), "id": TEXT, "summary": [_PART], "content": [_PART]},
        "function_call": {**_all("type", "status"), **_texts("id", "call_id", "name", "arguments")},
    },
)
_RESPONSE = {
    **_all("id", "object", "created_at", "completed_at", "status", "model"),
    **_all("max_output_tokens", "parallel_tool_calls", "temperature", "top_p"),
    "incomplete_details": _all("reason"),
    "output": [_ITEM],
    "usage": {
        **_all("input_tokens", "output_tokens", "total_tokens"),
        "output_tokens_details": _REASONED,
    },
}
_PLACE = {
    **_all("type", "sequence_number", "output_index", "content_index", "summary_index"),
    "item_id": TEXT,
}
_WHOLE = {**_PLACE, "response": _RESPONSE}
_OF_ITEM = {**_PLACE, "item": _ITEM}
_OF_PART = {**_PLACE, "part": _PART}
_TEXT = {**_PLACE, **_texts("delta", "text"), "logprobs": [{**_TOKEN, "top_logprobs": [_TOKEN]}]}
_PIECE = {**_PLACE, **_texts("delta", "text", "refusal", "arguments", "name")}
_RESPONSE_EVENTS = (
    "type",
    {
        **{
            f"response.{state}": _WHOLE
            for state in ("queued", "created", "in_progress", "completed", "incomplete")
        },
        **{
            f"response.{thing}.{step}": shape
            for thing, steps, shape in (
                ("output_item", ("added", "done"), _OF_ITEM),
                ("content_part", ("added", "done"), _OF_PART),
                ("reasoning_part", ("added", "done"), _OF_PART),
                ("reasoning_summary_part", ("added", "done"), _OF_PART),
                ("output_text", ("delta", "done"), _TEXT),
                ("refusal", ("delta", "done"), _PIECE),
                ("reasoning_text", ("delta", "done"), _PIECE),
                ("reasoning_summary_text", ("delta", "done"), _PIECE),
                ("function_call_arguments", ("delta", "done"), _PIECE),
            )
            for step in steps
        },
    },
)

_BLOCK = (
    "type",
    {
        "text": _TYPED_TEXT,
        "thinking": {**_all("type", "signature"), "thinking": TEXT},
        "tool_use": {"type": SCALAR, **_texts("id", "name"), "input": JSON},
    },
)
_USED = _all("input_tokens", "output_tokens")
_ANTHROPIC = {
    **_all("id", "type", "role", "model", "stop_reason", "stop_sequence"),
    "content": [_BLOCK],
    "usage": _USED,
}
_DELTA = (
    "type",
    {
        "text_delta": _TYPED_TEXT,
        "thinking_delta": {"type": SCALAR, "thinking": TEXT},
        "input_json_delta": {"type": SCALAR, "partial_json": TEXT},
        "signature_delta": _all("type", "signature"),
    },
)
_MESSAGE_EVENTS = (
    "type",
    {
        "message_start": {"type": SCALAR, "message": _ANTHROPIC},
        "content_block_start": {**_all("type", "index"), "content_block": _BLOCK},
        "content_block_delta": {**_all("type", "index"), "delta": _DELTA},
        "content_block_stop": _all("type", "index"),
        "message_delta": {
            "type": SCALAR,
            "delta": _all("stop_reason", "stop_sequence"),
            "usage": _USED,
        },
        "message_stop": _all("type"),
        "ping": _all("type"),
    },
)

_LINE = {
    **_all("model", "created_at", "done", "done_reason", "eval_count"),
    "logprobs": [{**_TOKEN, "top_logprobs": [_TOKEN]}],
}
_OLLAMA_CALLS = [
    {"id": TEXT, "function": {"index": SCALAR, "name": TEXT, "arguments": JSON}},
]
_OLLAMA_CHAT = {
    **_LINE,
    "message": {"role": SCALAR, **_texts("content", "thinking"), "tool_calls": _OLLAMA_CALLS},
}
_OLLAMA_GENERATE = {**_LINE, **_texts("response", "thinking")}

DOCUMENTS: dict[str, Any] = {
    dialects.CHAT: _CHAT,
    dialects.COMPLETIONS: _COMPLETION,
    dialects.EMBEDDINGS: _EMBEDDING,
    dialects.RESPONSES: _RESPONSE,
    dialects.MESSAGES: _ANTHROPIC,
    dialects.OLLAMA_CHAT: _OLLAMA_CHAT,
    dialects.OLLAMA_GENERATE: _OLLAMA_GENERATE,
}
EVENTS: dict[str, Any] = {
    dialects.CHAT: _CHAT_EVENT,
    dialects.COMPLETIONS: _COMPLETION,
    dialects.RESPONSES: _RESPONSE_EVENTS,
    dialects.MESSAGES: _MESSAGE_EVENTS,
    dialects.OLLAMA_CHAT: _OLLAMA_CHAT,
    dialects.OLLAMA_GENERATE: _OLLAMA_GENERATE,
}
MARKS = {
    dialects.CHAT: "choices",
    dialects.COMPLETIONS: "choices",
    dialects.OLLAMA_CHAT: "done",
    dialects.OLLAMA_GENERATE: "done",
}
"""The member by which an event is known where events have no type."""
OBJECTS = {dialects.CHAT: "chat.completion.chunk", dialects.COMPLETIONS: "text_completion"}
