# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of a request and its answer without what is nobody's business, for a trail that keeps them redacted.

Patterns find in texts what they do not find in JSON, with its escapes, or in a stream, cut into events. So texts
are taken out of both, put together, and masked with the patterns of the output filter.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from airlock import canonical, dialects
from airlock.dialects import Document
from airlock.errors import AirlockError
from airlock.output_filter import TextFilter
from airlock.output_rules import Rules
from airlock.request_policy import MAX_VALUES

_MAX_CHARACTERS = 1024 * 1024  # of an answer
_MAX_TEXTS = 256  # of an answer
_WINDOW = 16 * 1024
_TURN = 256  # values after which others are served


class Transcript:
    """What was asked and answered."""

    def __init__(self, rules: Rules, dialect: str, prompt: bytes):
        """``prompt`` is a body that was checked."""
        self._rules = rules
        self._dialect = dialect
        self._prompt = prompt
        self._pieces: dict[tuple[int, str, str], list[str]] = {}
        self._whole: dict[str, None] = {}
        self._room = _MAX_CHARACTERS
        self._rebuilt = 0

    def add(self, document: Document, *, streamed: bool) -> None:
        """Take the texts of an answer, or of an event of it."""
        for field in dialects.texts(self._dialect, document, streamed=streamed):
            if field.whole:
                self.add_text(field.get())
            elif text := self._taken(field.get()):
                channel = field.index, field.kind, field.part
                if channel in self._pieces or len(self._pieces) < _MAX_TEXTS:
                    self._pieces.setdefault(channel, []).append(text)

    def add_text(self, text: str) -> None:
        """Take a text that stands alone, or repeats what pieces said."""
        if len(self._whole) < _MAX_TEXTS and (text := self._taken(text)):
            self._whole[text] = None

    def _taken(self, text: str) -> str:
        text = text[: self._room]
        self._room -= len(text)
        return text

    async def redacted(self) -> dict[str, Any]:
        """Return ``{"prompt": the body, "response": its texts}``; others are served meanwhile."""
        said = ["".join(pieces) for pieces in self._pieces.values()]
        # Events that end a text repeat it.
        said += [text for text in self._whole if not any(text in each for each in said)]
        return {
            "prompt": await self._masked(json.loads(self._prompt)),
            "response": await self._masked(said),
        }

    async def _masked(self, value: Any, *, unfold: bool = True) -> Any:
        self._rebuilt += 1
        if self._rebuilt % _TURN == 0:  # many values are no text, which would do so itself
            await asyncio.sleep(0)
        if isinstance(value, dict):
            return {
                await self._text(name): await self._masked(one, unfold=unfold)
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [await self._masked(one, unfold=unfold) for one in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = await self._text(json.dumps(value))
            return value if text == json.dumps(value) else text
        if not isinstance(value, str):
            return value
        nested = _nested(value) if unfold else None
        if nested is not None:  # arguments of a tool
            return json.dumps(await self._masked(nested, unfold=False), ensure_ascii=False)
        return await self._text(value)

    async def _text(self, text: str) -> str:
        mask = TextFilter(self._rules, set())
        out = []
        for start in range(0, len(text), _WINDOW):
            out.append(mask.feed(text[start : start + _WINDOW]))
            await asyncio.sleep(0)
        return "".join([*out, mask.feed("", final=True)])


def _nested(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return canonical.parse(text.encode(), where="a text", max_values=MAX_VALUES)
    except (AirlockError, ValueError):
        return None
