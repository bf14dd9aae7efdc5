# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The languages that clients and backends speak, and where in an answer the model's text stands.

Each is named by the API that made it known: OpenAI's chat completions, completions, responses and
embeddings, Anthropic's messages, Ollama's chat and generate. An answer is one JSON document, or a
stream of them: server-sent events (WHATWG HTML section 9.2), for Ollama one document per line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

CHAT = "openai_chat"
COMPLETIONS = "openai_completions"
RESPONSES = "openai_responses"
EMBEDDINGS = "openai_embeddings"
MESSAGES = "anthropic_messages"
OLLAMA_CHAT = "ollama_chat"
OLLAMA_GENERATE = "ollama_generate"
DIALECTS = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES, OLLAMA_CHAT, OLLAMA_GENERATE)
CHOICES = frozenset({CHAT, COMPLETIONS})  # may answer several times at once
LINES = frozenset({OLLAMA_CHAT, OLLAMA_GENERATE})  # stream one document per line
NAMED_EVENTS = frozenset({RESPONSES, MESSAGES})  # repeat a document's type as the event's name

CONTENT = "content"
REASONING = "reasoning"
ARGUMENTS = "arguments"  # of a tool call, as JSON in a text
ARGUMENT = "argument"  # one text or number of a tool call's arguments that came as JSON values
NAME = "name"  # of a tool, or the id of a call of it; some models write both themselves

Document = dict[str, Any]


@dataclass(frozen=True)
class TextField:
    """One text of a document that the model wrote.

    ``(index, kind, part)`` names the text that it is a piece of: the fields of a stream with the
    same three follow one another. A ``whole`` one stands alone: it is no piece, or it repeats what
    pieces said before. ``index`` is that of the choice, output item or content block.
    """

    index: int
    kind: str
    part: str
    whole: bool
    _holder: Any
    _name: Any

    @property
    def member(self) -> str:
        """The member of the document that it is."""
        return str(self._name)

    def get(self) -> str:
        """Return the text."""
        text: str = self._holder[self._name]
        return text

    def set(self, text: str) -> None:
        """Put ``text`` in its place in the document."""
        self._holder[self._name] = text


@dataclass(frozen=True)
class KeyField(TextField):
    """The name of a member of a tool call's arguments; to set it renames the member."""

    def get(self) -> str:
        """Return the name."""
        return str(self._name)

    def set(self, text: str) -> None:
        """Rename the member; its place among the others stays."""
        members = [
            (text if key == self._name else key, value) for key, value in self._holder.items()
        ]
        self._holder.clear()
        self._holder.update(members)


@dataclass(frozen=True)
class NumberField(TextField):
    """A number in a tool call's arguments; to set it puts a text in its place."""

    def get(self) -> str:
        """Return the number as JSON spells it, which is how it leaves."""
        return json.dumps(self._holder[self._name])


def texts(dialect: str, document: Document, *, streamed: bool = False) -> Iterator[TextField]:
    """Return the texts of an answer, or of one event of a ``streamed`` one, in their order.

    The document is one that :mod:`response_policy` has cleaned. Nothing is changed until a
    field is set; the texts may be set while they are walked through.
    """
    return _TEXTS[dialect](document, streamed)


def logprobs(dialect: str, document: Document) -> Iterator[tuple[int, Document]]:
    """Return, per choice index, the objects whose member ``logprobs`` repeats the text as tokens.

    Whoever changes a text has to remove them: ``holder.pop("logprobs")``.
    """
    if dialect in CHOICES:
        for choice in _objects(document.get("choices")):
            if choice.get("logprobs"):
                yield _index(choice), choice
    elif dialect in LINES and document.get("logprobs"):
        yield 0, document
    elif dialect == RESPONSES:
        yield from ((_index(document, "output_index"), part) for part in _with_logprobs(document))


def ended(dialect: str, event: Document) -> Collection[int] | None:
    """Return the indexes of the texts of which no more pieces come after this event; None: of all."""
    if dialect in CHOICES:
        return {
            choice.get("index", 0)
            for choice in event.get("choices") or []
            if choice.get("finish_reason") is not None
        }
    if dialect in LINES:
        return None if event.get("done") is True else ()
    kind = str(event.get("type"))
    if kind in _LAST_EVENTS:
        return None
    place = event.get("output_index", event.get("index", 0))
    return (place,) if isinstance(place, int) and kind.endswith((".done", "_stop")) else ()


_LAST_EVENTS = frozenset(
    {"message_delta", "message_stop"}
    | {f"response.{state}" for state in ("completed", "incomplete", "failed")}
)


def spelled(logprobs: Any) -> str:
    """Return the text that token probabilities spell out, in whatever form they are."""
    if isinstance(logprobs, str):
        return logprobs
    if isinstance(logprobs, list):
        return "".join(map(spelled, logprobs))
    if isinstance(logprobs, dict):
        return "".join([spelled(logprobs.get(name)) for name in _TOKENS])
    return ""


_TOKENS = ("content", "refusal", "tokens", "token")


def drop_unsaid(logprobs: Any) -> None:
    """Take out of token probabilities what :func:`spelled` does not return.

    Those are the alternatives, each the beginning of a text of its own that nobody follows, and bytes
    that are not the token's. A token's list of alternatives stays, empty: clients count on it.
    """
    if isinstance(logprobs, list):
        for entry in logprobs:
            drop_unsaid(entry)
    elif isinstance(logprobs, dict):
        drop_unsaid(logprobs.get("content"))
        if logprobs.pop("top_logprobs", None) is not None and "token" in logprobs:
            logprobs["top_logprobs"] = []
        if logprobs.get("bytes") != list(spelled(logprobs.get("token")).encode("utf-8", "replace")):
            logprobs.pop("bytes", None)


def error(dialect: str, kind: str, code: str, message: str, param: str | None = None) -> Document:
    """Return the error that a client of ``dialect`` understands; ``kind`` as OpenAI names them."""
    if dialect == MESSAGES:
        return {"type": "error", "error": {"type": _ANTHROPIC.get(kind, kind), "message": message}}
    if dialect in LINES:
        return {"error": message}
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def stream_type(dialect: str) -> str:
    """Return the media type of a streamed answer."""
    return "application/x-ndjson" if dialect in LINES else "text/event-stream"


def broken(
    dialect: str,
    code: str = "backend_broken",
    message: str = "The service broke off its answer.",
) -> bytes:
    """Return the event that ends a stream which went wrong."""
    if dialect == RESPONSES:
        return frame(dialect, {"type": "error", "code": code, "message": message, "param": None})
    return frame(dialect, error(dialect, "server_error", code, message))


def encode(document: Any) -> bytes:
    """Return the bytes of a document, or of a part of one; half a surrogate pair becomes a question mark."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def encode_in_parts(document: Document) -> bytes:
    """Do it to each item of a list at the top by itself: other threads get a turn in between."""
    return b"{%s}" % b",".join(
        b"%s:%s" % (encode(name), _items(value) if isinstance(value, list) else encode(value))
        for name, value in document.items()
    )


def _items(values: list[Any]) -> bytes:
    return b"[%s]" % b",".join(map(encode, values))


def frame(dialect: str, document: Document) -> bytes:
    """Return the bytes of one event."""
    data = encode(document)
    if dialect in LINES:
        return data + b"\n"
    name = b"event: %s\n" % document["type"].encode() if dialect in NAMED_EVENTS else b""
    return b"%sdata: %s\n\n" % (name, data)


_ANTHROPIC = {"server_error": "api_error"}


def _choices(document: Document, streamed: bool) -> Iterator[TextField]:
    for choice in _objects(document.get("choices")):
        index = _index(choice)
        yield from _field(choice, "text", index, CONTENT, not streamed)
        for holder in _objects([choice.get("message"), choice.get("delta")]):
            yield from _field(holder, "reasoning_content", index, REASONING, not streamed)
            yield from _field(holder, "reasoning", index, REASONING, not streamed, "reasoning")
            yield from _field(holder, "content", index, CONTENT, not streamed)
            yield from _field(holder, "refusal", index, CONTENT, not streamed, "refusal")
            for call in _objects(holder.get("tool_calls")):
                part = str(_index(call))
                yield from _field(call, "id", index, NAME, True, part)
                for function in _objects([call.get("function")]):
                    yield from _field(function, "name", index, NAME, True, part)
                    yield from _field(function, "arguments", index, ARGUMENTS, not streamed, part)


def _messages(document: Document, _streamed: bool) -> Iterator[TextField]:
    index = _index(document)
    for message in _objects([document.get("message"), document]):
        for number, block in enumerate(_objects(message.get("content"))):
            yield from _block(block, number)
    for block in _objects([document.get("content_block")]):
        yield from _block(block, index)
    for delta in _objects([document.get("delta")]):
        yield from _field(delta, "thinking", index, REASONING, False)
        yield from _field(delta, "text", index, CONTENT, False)
        yield from _field(delta, "partial_json", index, ARGUMENTS, False)


def _block(block: Document, index: int) -> Iterator[TextField]:
    yield from _field(block, "thinking", index, REASONING, True)
    yield from _field(block, "text", index, CONTENT, True)
    yield from _field(block, "id", index, NAME, True)
    yield from _field(block, "name", index, NAME, True)
    yield from _leaves(block, "input", index)


def _responses(document: Document, streamed: bool) -> Iterator[TextField]:
    if not streamed:
        yield from _outputs(document)
        return
    index, part = _index(document, "output_index"), str(document.get("item_id", ""))
    if "content_index" in document or "summary_index" in document:
        part += f".{document.get('content_index', '')}.{document.get('summary_index', '')}"
    kind = next((kind for word, kind in _EVENT_KINDS if word in str(document.get("type"))), CONTENT)
    yield from _field(document, "delta", index, kind, False, part)
    for name in ("text", "refusal", "arguments"):
        yield from _field(document, name, index, kind, True, part)
    yield from _field(document, "name", index, NAME, True, part)
    yield from _field(document, "item_id", index, NAME, True)
    for piece in _objects([document.get("part")]):
        yield from _piece(piece, index)
    for item in _objects([document.get("item")]):
        yield from _item(item, index)
    for response in _objects([document.get("response")]):
        yield from _outputs(response)


_EVENT_KINDS = (("reasoning", REASONING), ("arguments", ARGUMENTS))


def _outputs(response: Document) -> Iterator[TextField]:
    for index, item in enumerate(_objects(response.get("output"))):
        yield from _item(item, index)


def _item(item: Document, index: int) -> Iterator[TextField]:
    for name in ("summary", "content"):
        for piece in _objects(item.get(name)):
            yield from _piece(piece, index)
    yield from _field(item, "id", index, NAME, True)
    yield from _field(item, "call_id", index, NAME, True)
    yield from _field(item, "name", index, NAME, True)
    yield from _field(item, "arguments", index, ARGUMENTS, True)


def _piece(piece: Document, index: int) -> Iterator[TextField]:
    thought = piece.get("type") in ("reasoning_text", "summary_text")
    yield from _field(piece, "text", index, REASONING if thought else CONTENT, True)
    yield from _field(piece, "refusal", index, CONTENT, True, "refusal")


def _with_logprobs(value: Any) -> Iterator[Document]:
    if isinstance(value, dict):
        if value.get("logprobs"):
            yield value
        for name in ("response", "output", "item", "content", "part"):
            yield from _with_logprobs(value.get(name))
    elif isinstance(value, list):
        for item in value:
            yield from _with_logprobs(item)


def _ollama(document: Document, streamed: bool) -> Iterator[TextField]:
    for holder in _objects([document, document.get("message")]):
        yield from _field(holder, "thinking", 0, REASONING, not streamed)
        yield from _field(holder, "response", 0, CONTENT, not streamed)
        yield from _field(holder, "content", 0, CONTENT, not streamed)
        # Ollama sends a call in one piece, whatever the stream.
        for call in _objects(holder.get("tool_calls")):
            yield from _field(call, "id", 0, NAME, True)
            for function in _objects([call.get("function")]):
                yield from _field(function, "name", 0, NAME, True)
                yield from _leaves(function, "arguments", 0)


def _nothing(_document: Document, _streamed: bool) -> Iterator[TextField]:
    return iter(())


_TEXTS: dict[str, Callable[[Document, bool], Iterator[TextField]]] = {
    CHAT: _choices,
    COMPLETIONS: _choices,
    RESPONSES: _responses,
    EMBEDDINGS: _nothing,
    MESSAGES: _messages,
    OLLAMA_CHAT: _ollama,
    OLLAMA_GENERATE: _ollama,
}


def _field(
    holder: Document, name: str, index: int, kind: str, whole: bool, part: str = ""
) -> Iterable[TextField]:
    if isinstance(holder.get(name), str):
        return (TextField(index, kind, part, whole, holder, name),)
    return ()


def _leaves(holder: Any, name: Any, index: int) -> Iterator[TextField]:
    """Return each text and number inside arguments that came as JSON rather than as text, names too."""
    value = holder[name] if isinstance(name, int) else holder.get(name)
    if isinstance(value, str):
        yield TextField(index, ARGUMENT, "", True, holder, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield NumberField(index, ARGUMENT, "", True, holder, name)
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from _leaves(value, number, index)
    elif isinstance(value, dict):
        for key in list(value):
            yield from _leaves(value, key, index)
            yield KeyField(index, ARGUMENT, "", True, value, key)


def _objects(value: Any) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _index(document: Document, name: str = "index") -> int:
    index = document.get(name)
    return index if isinstance(index, int) else 0
