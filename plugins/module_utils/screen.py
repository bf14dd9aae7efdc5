# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says of a prompt whether it reads like an attempt to take the model over: a signal, not a boundary.

Words are looked at, never bytes: a text becomes its words in lower case with one space between
them. A phrase is a sequence of words with gaps of a few words; it is searched only when each of its
steps has a word in the text. Beside the phrases, every word and pair of neighbours has a weight in
a linear model. All of it is data (``roles/gateway/files/screens``); anybody can read it, and whoever
has read it can get around it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from . import screen_views
from .errors import AirlockError

PROMPT = "prompt"
DOCUMENT = "document"  # what a tool returned or a document says: nobody asked it for instructions
ALLOW, FLAG, BLOCK = "allow", "flag", "block"

WINDOW = 4096
_OVERLAP = 256
# How many times longer ordinary text may become in compatibility form: a syllable of Hangul is up to three letters.
# There are characters that become eighteen.
_GROWTH = 3
_GAP = 4
# A few words alone say little: they count as if there were that many more that say nothing.
_PRIOR = 20
# No amount of ordinary words around it makes a phrase unsaid.
_FLOOR = -2.0
_DOCUMENT_ROLES = frozenset({"tool", "function"})
_DOCUMENT_TYPES = frozenset(
    {"tool_result", "function_call_output", "document", "file", "input_file", "search_result"}
)
_DOCUMENT_FIELDS = frozenset({"tools", "functions", "documents"})
_ENUMERATIONS = frozenset({"model", "role", "type"})
# A name of so many words and one more is a sentence; one of fewer is a name.
_SENTENCE = 3
# Objects of the client's own: whatever names and values they have, the model reads them.
_FREE_FIELDS = frozenset({"parameters", "input_schema", "schema", "format", "arguments", "input"})

Look = tuple[float, set[str]]  # a score, and the ids of what was found


@dataclass(frozen=True)
class Verdict:
    """``action`` is allow, flag or block, ``score`` the highest of all windows, ``hits`` the ids
    of the phrases that were found."""

    action: str
    score: float
    hits: tuple[str, ...]


@dataclass(frozen=True)
class Phrase:
    """Words in an order: ``steps`` are the alternatives of each, ``gaps`` how many other words may
    stand before it."""

    id: str
    weight: float
    steps: tuple[frozenset[str], ...]
    gaps: tuple[int, ...]

    def possible(self, said: frozenset[str]) -> bool:
        """Tell whether each step has one of its words among those that were ``said``."""
        return not any(map(said.isdisjoint, self.steps))

    def found(self, words: list[str], places: dict[str, list[int]]) -> bool:
        """Tell whether the phrase is in ``words``, in which ``places`` says where keywords are."""
        reached = {place for word in self.steps[0] for place in places.get(word, ())}
        for step, gap in zip(self.steps[1:], self.gaps[1:], strict=True):
            reached = {
                place
                for last in reached
                for place, word in enumerate(words[last + 1 : last + 2 + gap], last + 1)
                if word in step
            }
        return bool(reached)


class Screen:
    """The phrases, markers and weights in force."""

    def __init__(self, document: Any, weights: Any, *, where: str):
        """Build the screen from the two parsed data files. Raises AirlockError."""
        try:
            self._phrases = [phrase for entry in document["phrases"] for phrase in _phrases(entry)]
            self._markers = {str(text): float(value) for text, value in document["markers"].items()}
            self._lookalikes = screen_views.Lookalikes(document["lookalikes"])
            self._thresholds = {
                channel: (float(levels["flag"]), float(levels["block"]))
                for channel, levels in document["thresholds"].items()
            }
            self._hidden = float(document["hidden"])
            self._bias = float(weights["bias"])
            self._words = {str(word): float(value) for word, value in weights["words"].items()}
            self._pairs = {
                (first, second): float(value)
                for first, others in weights["pairs"].items()
                for second, value in others.items()
            }
            self._thresholds[PROMPT], self._thresholds[DOCUMENT]
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise AirlockError.refuse(
                "these are not the tables of the input screen", found=repr(exc), where=where
            ) from exc
        self._keywords = frozenset(
            word for phrase in self._phrases for step in phrase.steps for word in step
        )
        self._decoder = screen_views.Decoder(self._keywords)

    def judge(self, text: str, channel: str) -> Verdict:
        """Judge a whole text. ``channel`` is PROMPT or DOCUMENT."""
        return self.sum_up(filter(None, self.looks(text)), channel)

    def sum_up(self, looks: Iterable[Look], channel: str) -> Verdict:
        """Return the verdict on what :meth:`looks` said of a text."""
        score, hits = -math.inf, set()
        for value, found in looks:
            score = max(score, value)
            hits |= found
        flag, block = self._thresholds[channel]
        action = BLOCK if score >= block else FLAG if score >= flag else ALLOW
        return Verdict(action, score, tuple(sorted(hits)))

    def looks(self, text: str) -> Iterator[Look | None]:
        """Return what each window of a text says, and its views; None before each but the first.

        Where None is, others may have a turn: from one to the next is a few milliseconds' work,
        whatever the text.
        """
        for number, window in enumerate(windows(text)):
            if number:
                yield None
            yield from self._looks(window)

    def _looks(self, window: str) -> Iterator[Look | None]:
        secret = screen_views.hidden(window)
        more, hidden = (self._hidden, {"hidden-text"}) if secret else (0.0, set())
        for number, text in enumerate(self._plain(window)):
            if number:
                yield None
            words = screen_views.words(text)
            score, hits = self._score(text, words)
            yield score + more, hits | hidden
            views = self._decoder.views(text, words)
            for view in itertools.chain([secret] if secret else [], views):
                for part in self._plain(view):
                    yield None
                    score, hits = self._score(part, screen_views.words(part))
                    if hits:  # letters that mean nothing have a score as well
                        yield score + more, hits

    def features(self, text: str) -> tuple[set[str], set[tuple[str, str]]]:
        """Return the words and the pairs of neighbours of a text as the linear model sees them."""
        words = screen_views.words(screen_views.plain(text, self._lookalikes))
        return set(words), set(itertools.pairwise(words))

    def _plain(self, text: str) -> Iterator[str]:
        """Return a window or a view as it is read, in pieces where it has become much longer."""
        return windows(screen_views.plain(text, self._lookalikes), WINDOW * _GROWTH)

    def _score(self, text: str, words: list[str]) -> tuple[float, set[str]]:
        known, pairs = set(words), set(itertools.pairwise(words))
        score = sum(map(self._words.__getitem__, self._words.keys() & known))
        score += sum(map(self._pairs.__getitem__, self._pairs.keys() & pairs))
        score = max(score / scale(len(known) + len(pairs)) + self._bias, _FLOOR)
        said = self._keywords & known
        places: dict[str, list[int]] = {}
        for place, word in enumerate(words):
            if word in said:
                places.setdefault(word, []).append(place)
        hits: dict[str, float] = {}
        for phrase in self._phrases:
            if phrase.possible(said) and phrase.found(words, places):
                hits[phrase.id] = max(phrase.weight, hits.get(phrase.id, 0.0))
        lower = text.lower()
        for marker, weight in self._markers.items():
            if marker in lower:
                hits["marker"] = max(weight, hits.get("marker", 0.0))
        return score + sum(hits.values()), set(hits)


def scale(features: int) -> float:
    """Return what the sum over a text of so many different words and pairs is divided by."""
    return math.sqrt(features + _PRIOR)


def windows(text: str, size: int = WINDOW) -> Iterator[str]:
    """Cut a text into overlapping windows of at most ``size`` characters."""
    for start in range(0, max(len(text) - _OVERLAP, 1), size - _OVERLAP):
        yield text[start : start + size]


def collect(body: Any) -> dict[str, str]:
    """Return everything that a request says, by channel: every string but those of a few known words.

    In schemas and in the arguments of a call, whose members are the client's own, that is every
    string and every name. A tool's answers and descriptions and attached documents are DOCUMENT,
    all else is PROMPT.
    """
    parts: dict[str, list[str]] = {PROMPT: [], DOCUMENT: []}
    _gather(body, PROMPT, parts)
    return {channel: "\n".join(texts) for channel, texts in parts.items() if texts}


def _gather(value: Any, channel: str, into: dict[str, list[str]]) -> None:
    if isinstance(value, str):
        into[channel].append(value)
    elif isinstance(value, list):
        for item in value:
            _gather(item, channel, into)
    elif isinstance(value, dict):
        if value.get("role") in _DOCUMENT_ROLES or value.get("type") in _DOCUMENT_TYPES:
            channel = DOCUMENT
        for name, item in value.items():
            inner = DOCUMENT if name in _DOCUMENT_FIELDS else channel
            if name in _FREE_FIELDS and isinstance(item, dict):
                into[inner] += _everything(item)
            elif name not in _ENUMERATIONS:
                _gather(item, inner, into)


def _everything(value: Any) -> Iterator[str]:
    """Return every string and every member's name in ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _everything(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name.replace("_", " ") if name.count("_") >= _SENTENCE else name
            yield from _everything(item)


def _phrases(entry: dict[str, Any]) -> Iterator[Phrase]:
    """Return the phrases of one entry: ``a|b .. c`` is a or b, up to four words, then c."""
    for text in entry["phrases"]:
        steps: list[frozenset[str]] = []
        gaps = []
        gap = 0
        for token in text.split():
            if token == "..":  # noqa: S105 - a gap, no secret
                gap = _GAP
            else:
                steps.append(frozenset(token.split("|")))
                gaps.append(gap)
                gap = 0
        yield Phrase(entry["id"], float(entry["weight"]), tuple(steps), tuple(gaps))
