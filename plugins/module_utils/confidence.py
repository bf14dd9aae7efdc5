# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signs that an answer says more than the model knows.

What is looked at is the text that the client gets: "I am certain" beside token probabilities that
are low, and a number where no source is named. Neither proves anything.
"""

from __future__ import annotations

import re
from typing import Any

from . import dialects
from .dialects import Document

CERTAIN = "uncertain:certain-at-low-confidence"
NUMBER = "uncertain:number-without-source"

# The mean probability of a token below which the model is called unsure: exp(-0.9) is 0.41.
_LOW = -0.9
_MAX_TEXT = 64 * 1024  # characters of all choices
_MAX_CHOICES = 64
_LONGEST = 32  # characters that a claim has at most
_CERTAIN = re.compile(
    r"\b(?:i am|i'm|we are|absolutely|completely) (?:certain|sure|positive)\b|\bwithout (?:a|any) doubt\b"
    r"|\bich bin (?:mir )?sicher\b|\bohne (?:jeden )?zweifel\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\b[0-9][0-9.,]*(?:[0-9]|%)|\b[0-9]+ ?(?:percent|million|billion)\b")
_SOURCE = re.compile(
    r"https?://|\bdoi:|\[[0-9]{1,3}\]|\([^()\n]{1,60}, ?(?:19|20)[0-9]{2}\)"
    r"|\b(?:according to|source:|quelle:|laut)\b",
    re.IGNORECASE,
)


class Confidence:
    """Collects the texts of an answer of one dialect, whole or streamed, and the probabilities of its tokens."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._room = _MAX_TEXT
        self._choices: dict[int, _Choice] = {}

    def came(self, document: Document) -> None:
        """Take the probabilities of an answer, or of an event of it, as it came from the backend."""
        for index, holder in dialects.logprobs(self._dialect, document):
            self._choice(index).weigh(holder["logprobs"])

    def left(self, document: Document, *, streamed: bool) -> None:
        """Take the texts of an answer, or of an event of it, as the client gets it."""
        for field in dialects.texts(self._dialect, document, streamed=streamed):
            if field.kind == dialects.CONTENT and (text := field.get()[: self._room]):
                self._room -= len(text)
                self._choice(field.index).add(text)

    def certain(self) -> bool:
        """Return whether an answer, as far as it came, is sure of itself and the model is not."""
        return any(choice.certain() for choice in self._choices.values())

    def verdicts(self) -> list[str]:
        """Return what there is to say of the answer."""
        found = [CERTAIN] if self.certain() else []
        text = "\n".join(choice.said for choice in self._choices.values())
        if _NUMBER.search(text) and not _SOURCE.search(text):
            found.append(NUMBER)
        return found

    def _choice(self, index: int) -> _Choice:
        # Other dialects number the parts of one answer, and not everywhere.
        known = self._dialect in dialects.CHOICES and 0 <= index < _MAX_CHOICES
        return self._choices.setdefault(index if known else 0, _Choice())


class _Choice:
    """One answer of those that were asked for; what was searched is not searched again."""

    def __init__(self) -> None:
        self._said, self._searched = "", 0
        self._pieces: list[str] = []
        self._claims = False
        self._sum, self._count = 0.0, 0

    @property
    def said(self) -> str:
        """The text so far."""
        if self._pieces:
            self._said = "".join([self._said, *self._pieces])
            self._pieces.clear()
        return self._said

    def add(self, text: str) -> None:
        """Take the next piece of the text."""
        self._pieces.append(text)

    def weigh(self, logprobs: Any) -> None:
        """Take the natural logarithms of the tokens' probabilities, in the form of any API.

        ``{"content": [{"logprob": -0.1}]}``, ``[{"logprob": -0.1}]`` or ``{"token_logprobs": [-0.1]}``.
        """
        entries = logprobs
        if isinstance(logprobs, dict):
            entries = logprobs.get("content") or logprobs.get("token_logprobs")
        for entry in entries if isinstance(entries, list) else []:
            value = entry.get("logprob") if isinstance(entry, dict) else entry
            if isinstance(value, (int, float)):
                self._sum += value
                self._count += 1

    def certain(self) -> bool:
        """Return whether it claims to be certain, and its tokens say otherwise."""
        if not self._claims and self._searched < len(self.said):
            start = max(0, self._searched - _LONGEST)
            self._claims = _CERTAIN.search(self.said, start) is not None
            self._searched = len(self.said)
        return self._claims and self._count > 0 and self._sum / self._count < _LOW
