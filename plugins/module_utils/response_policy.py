# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a backend's answer reaches the client, streamed or not.

Every document is parsed, reduced to the fields that its dialect has (:mod:`response_shapes`) and
written anew. Timings and the number of cached tokens would tell one caller that another had sent
the same prompt before, so they are not among those fields; the model has the service's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from . import canonical, dialects, response_shapes
from .dialects import Document
from .errors import AirlockError

MAX_EVENT_BYTES = 1024 * 1024
MAX_VALUES = 2**17  # of an event, and of an answer made of text
_MAX_TEXT_BYTES = 4 * 1024 * 1024
_MAX_VECTORS_BYTES = 8 * 1024 * 1024
_MAX_DIMENSIONS = 8192  # of a vector, where the request does not say it
_NUMBER_BYTES = 24  # of a vector: a double has 17 digits, a sign, an exponent
_LARGE = 64 * 1024
# Beyond it a count is none: it is nothing that a model has counted.
_MAX_TOKENS = 2**31
_DONE = b"[DONE]"
_ANNOUNCING = ("message_start", "response.created", "response.queued", "response.in_progress")
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")


class Screen(Protocol):
    """Looks at what leaves, and may change it. Each method may raise AirlockError to stop it."""

    def document(self, document: Document) -> Document:
        """Return what is sent in the place of a whole answer."""

    def event(self, document: Document, size: int) -> Iterable[Document]:
        """Return the events that may leave now that this one of ``size`` bytes has come, in order."""

    def finish(self) -> Iterable[Document]:
        """Return the events that were held back; nothing follows."""


class Largest(NamedTuple):
    """The largest whole answer that is read."""

    size: int  # bytes
    values: int


def largest(dialect: str, body: Document) -> Largest:
    """Return how large the answer to a checked body may be: what it costs to read follows from that."""
    if dialect != dialects.EMBEDDINGS:
        return Largest(_MAX_TEXT_BYTES, MAX_VALUES)
    texts = len(body["input"]) if isinstance(body["input"], list) else 1
    numbers = min(
        texts * body.get("dimensions", _MAX_DIMENSIONS), _MAX_VECTORS_BYTES // _NUMBER_BYTES
    )
    return Largest(_LARGE + numbers * _NUMBER_BYTES, MAX_VALUES + numbers)


@dataclass
class Tokens:
    """Token counts as the backend reported them; None while unknown.

    ``final`` says that the answer's own count came: what an event counts that only announces an
    answer (Anthropic's ``message_start``, ``response.created``) is not that.
    """

    prompt: int | None = None
    completion: int | None = None
    final: bool = False

    def note(self, document: Document) -> None:
        """Take the counts from a response or an event, wherever its dialect has them."""
        counted = False
        for holder in (document, document.get("message"), document.get("response")):
            if isinstance(holder, dict):
                counted |= self._take(holder, "prompt_eval_count", "eval_count")
                counted |= self._take(holder.get("usage"), "input_tokens", "output_tokens")
                counted |= self._take(holder.get("usage"), "prompt_tokens", "completion_tokens")
        timings = document.get("timings")  # all that llama.cpp says where the client wants no usage
        if isinstance(timings, dict) and self.prompt is None:
            counted |= self._take(timings, "prompt_n", "predicted_n")
            self.prompt = (self.prompt or 0) + (_count(timings.get("cache_n"), None) or 0)
        self.final |= counted and document.get("type") not in _ANNOUNCING

    def _take(self, counts: Any, prompt: str, completion: str) -> bool:
        """Return whether the completion is counted there."""
        if not isinstance(counts, dict):
            return False
        self.prompt = _count(counts.get(prompt), self.prompt)
        self.completion = _count(counts.get(completion), self.completion)
        return _count(counts.get(completion), None) is not None


class Cleaner:
    """Cleans the answers of one service in one dialect."""

    def __init__(self, dialect: str, service: str, tokens: Tokens, screen: Screen | None = None):
        self.dialect = dialect
        self._service = service
        self._tokens = tokens
        self._screen = screen

    def document(self, data: bytes, limit: Largest) -> bytes:
        """Return a whole JSON answer without what must not be seen. Raises AirlockError."""
        document = self._parsed(data, "the backend's answer", limit)
        if document.get("error") is not None:
            raise AirlockError("the backend reported an error.")
        document = self._reduced(document, response_shapes.DOCUMENTS[self.dialect])
        if self._screen:
            document = self._screen.document(document)
        cleaned = dialects.encode_in_parts(document)
        if len(cleaned) > limit.size:  # masks are longer than what they hide
            raise AirlockError("the backend's answer is too large.")
        return cleaned

    def events(self, data: bytes, name: str = "") -> list[Document]:
        """Return what may be sent on for the data of one event, and its ``name`` if it has one.

        Raises AirlockError, also for an event of a type that the dialect does not know.
        """
        document = self._parsed(data, "the backend's event", Largest(MAX_EVENT_BYTES, MAX_VALUES))
        self._check_type(document, name)
        document = self._reduced(document, response_shapes.EVENTS[self.dialect])
        return list(self._screen.event(document, len(data))) if self._screen else [document]

    def held_back(self) -> list[Document]:
        """Return the events that the screen kept to itself until the end. Raises AirlockError."""
        return list(self._screen.finish()) if self._screen else []

    def _parsed(self, data: bytes, where: str, limit: Largest) -> Document:
        document = canonical.parse(data, where=where, max_bytes=limit.size, max_values=limit.values)
        if not isinstance(document, dict):
            raise AirlockError(f"{where} is not an object.")
        return document

    def _check_type(self, document: Document, name: str) -> None:
        kind = document.get("type")
        if document.get("error") is not None or kind == "error":
            raise AirlockError("the backend reported an error.")
        mark = response_shapes.MARKS.get(self.dialect)
        if mark is None:  # the shape knows the types
            known = name in ("", kind)
        else:
            wanted = response_shapes.OBJECTS.get(self.dialect)
            known = not name and mark in document and document.get("object", wanted) == wanted
        if not known:
            raise AirlockError("the backend sent an event of an unknown type.")

    def _reduced(self, document: Document, shape: Any) -> Document:
        for holder in (document, document.get("message"), document.get("response")):
            if isinstance(holder, dict):
                _count_cached(holder.get("usage"))
                if "model" in holder:
                    holder["model"] = self._service
        self._tokens.note(document)
        reduced: Document = response_shapes.pruned(document, shape)
        return reduced


class EventCleaner:
    """Does it to a stream, whatever its chunks are: server-sent events, or a document a line.

    An event leaves as soon as it is complete (WHATWG HTML section 9.2), so nothing is held back
    but what has not arrived, and what the screen keeps.
    """

    def __init__(self, cleaner: Cleaner):
        self._cleaner = cleaner
        self._lines = cleaner.dialect in dialects.LINES
        self._rest = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._ended = False

    @property
    def waiting(self) -> int:
        """How many bytes of an event have come that is not complete."""
        return len(self._rest) + self._size

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be sent on after ``chunk``. Raises AirlockError for a hostile stream."""
        lines: list[bytes] = []
        if b"\n" in chunk:
            *lines, chunk = (bytes(self._rest) + chunk).split(b"\n")
            self._rest.clear()
        self._rest += chunk
        if len(self._rest) > MAX_EVENT_BYTES:
            raise AirlockError("the backend sent an event without end.")
        take = self._json_line if self._lines else self._sse_line
        return b"".join([take(line.removesuffix(b"\r")) for line in lines])

    def finish(self) -> bytes:
        """Return what is still to be sent. Raises AirlockError for a stream that broke off."""
        if self._rest or self._data:
            raise AirlockError("the backend's stream ended inside an event.")
        return b"" if self._ended else self._framed(self._cleaner.held_back())

    def _json_line(self, line: bytes) -> bytes:
        return self._framed(self._cleaner.events(line)) if line else b""

    def _sse_line(self, line: bytes) -> bytes:
        if not line:
            return self._event() if self._data else b""
        name, _colon, text = line.partition(b":")
        text = text.removeprefix(b" ")
        if not name:
            return b":\n\n"  # a comment keeps the connection alive; what it says is dropped
        if name == b"data":
            self._data.append(text)
            self._size += len(text) + 1
            if self._size > MAX_EVENT_BYTES:
                raise AirlockError("the backend sent an event without end.")
        elif name == b"event":
            self._name = text
        elif name not in (b"id", b"retry"):
            raise AirlockError("the backend sent an event of an unknown form.")
        return b""

    def _event(self) -> bytes:
        data, name = b"\n".join(self._data), self._name
        self._data, self._name, self._size = [], b"", 0
        if self._ended:
            raise AirlockError("the backend went on after the end.")
        if data == _DONE:
            self._ended = True
            return self._framed(self._cleaner.held_back()) + b"data: [DONE]\n\n"
        return self._framed(self._cleaner.events(data, name.decode("utf-8", "replace")))

    def _framed(self, documents: list[Document]) -> bytes:
        return b"".join([dialects.frame(self._cleaner.dialect, one) for one in documents])


def _count_cached(usage: Any) -> None:
    """Make Anthropic's count of the prompt whole again: it leaves out what came from the cache."""
    if isinstance(usage, dict):
        cached = sum(_count(usage.get(name), None) or 0 for name in _CACHED)
        if cached and _count(usage.get("input_tokens"), None) is not None:
            usage["input_tokens"] += cached


def _count(value: Any, known: int | None) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _MAX_TOKENS else known
