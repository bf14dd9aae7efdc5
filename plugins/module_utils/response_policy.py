# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a backend's answer reaches the client, streamed or not.

Timings and the number of cached tokens would tell one caller that another had sent the same
prompt before; they are taken out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from . import canonical
from .errors import AirlockError

MAX_EVENT_BYTES = 1024 * 1024
_MARKS = (b'"timings"', b'"cached_tokens"', b'"usage"')


@dataclass
class Tokens:
    """Token counts as the backend reported them; None while unknown."""

    prompt: int | None = None
    completion: int | None = None

    def note(self, document: dict[str, Any]) -> None:
        """Take the counts from a response or an event: ``usage``, else llama.cpp's ``timings``."""
        usage, timings = document.get("usage"), document.get("timings")
        if isinstance(usage, dict):
            self.prompt = _count(usage.get("prompt_tokens"), self.prompt)
            self.completion = _count(usage.get("completion_tokens"), self.completion)
        elif isinstance(timings, dict):
            self.prompt = _count(timings.get("prompt_n"), self.prompt)
            self.completion = _count(timings.get("predicted_n"), self.completion)


def clean_document(data: bytes, tokens: Tokens, *, max_bytes: int) -> bytes:
    """Return a whole JSON answer without what must not be seen. Raises AirlockError."""
    document = canonical.parse(data, where="the backend's answer", max_bytes=max_bytes)
    if not isinstance(document, dict):
        raise AirlockError("the backend's answer is not an object.")
    return _cleaned(document, tokens)


class EventCleaner:
    """Does the same to a stream of server-sent events, whatever its chunks are.

    Lines leave as soon as they are complete (WHATWG HTML section 9.2), so nothing is held back
    but the part of a line that has not arrived.
    """

    def __init__(self, tokens: Tokens):
        self._tokens = tokens
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be sent on after ``chunk``. Raises AirlockError for a hostile stream."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise AirlockError("the backend sent an event without end.")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def finish(self) -> None:
        """Refuse a stream that broke off inside a line. Raises AirlockError."""
        if self._rest:
            raise AirlockError("the backend's stream ended inside an event.")

    def _line(self, line: bytes) -> bytes:
        if not any(mark in line for mark in _MARKS):
            return line
        name, _colon, text = line.partition(b":")
        if name != b"data":
            raise AirlockError("the backend sent an event of an unknown form.")
        document = canonical.parse(text, where="the backend's event", max_bytes=MAX_EVENT_BYTES)
        if not isinstance(document, dict):
            raise AirlockError("the backend's event is not an object.")
        return b"data: " + _cleaned(document, self._tokens)


def _cleaned(document: dict[str, Any], tokens: Tokens) -> bytes:
    tokens.note(document)
    document.pop("timings", None)
    usage = document.get("usage")
    if isinstance(usage, dict):
        for name in ("prompt_tokens_details", "input_tokens_details"):
            if isinstance(usage.get(name), dict):
                usage[name].pop("cached_tokens", None)
                if not usage[name]:
                    del usage[name]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _count(value: Any, known: int | None) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and value >= 0 else known
