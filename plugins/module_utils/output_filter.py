# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks in a text what an answer may not hold, in whatever pieces the text comes.

What comes out does not depend on the pieces: a match is masked when nothing that may follow could
change it, and until then it is held back. Everything else leaves at once.
"""

from __future__ import annotations

import json
import re

from .output_places import Place, Places
from .output_rules import Pattern, Rules, Search

# A block whose end never comes, in characters; what follows is looked at like any other text.
_MAX_BLOCK = 16384


class TextFilter:
    """Filters one text, piece by piece. ``found`` gets the ids of the patterns that were masked."""

    def __init__(self, rules: Rules, found: set[str]):
        self._rules = rules
        self._found = found
        self._before = ""  # the character before what is held, which a pattern may look at
        self._held = ""
        self._follow = Places() if rules.places else None
        self._places: list[Place] = []  # in what is held, counted from its first character
        self._tail: Pattern | None = None  # it was masked, and so is what belongs to it
        self._block: int | None = None  # characters that its ``until`` may still be away

    @property
    def holds(self) -> bool:
        """Whether a part of the text has not left yet, or is being dropped."""
        return bool(self._held) or self._tail is not None

    def feed(self, text: str, *, final: bool = False) -> str:
        """Return what may leave once ``text`` has come; with ``final``, all that there is."""
        known = self._before + self._held
        position = len(self._before)
        places = self._shifted(self._places, position)
        if self._follow:
            places += self._shifted(self._follow.feed(text), len(known))
        text = known + text
        search = Search(self._rules, text, places)
        held = None if final else self._rules.pending(text, position, places)
        out = []
        while True:
            if self._tail is not None:
                position = self._drop(text, position, self._tail, final)
                if self._tail is not None:
                    break
            match = search.next(position)
            if held is not None and held < position:
                held = self._rules.pending(text, position, places)
            if held is not None and (match is None or held <= match[0]):
                out.append(self._kept(text, position, held))
                position = held
                break
            if match is None:
                out.append(self._kept(text, position, len(text)))
                position = len(text)
                break
            start, end, pattern = match
            out += self._kept(text, position, start), pattern.mask
            position = end
            self._found.add(pattern.id)
            if pattern.tail or pattern.until:
                self._tail, self._block = pattern, _MAX_BLOCK if pattern.until else None
        self._places = self._shifted(places, -position)
        self._before, self._held = text[max(position - 1, 0) : position], text[position:]
        return "".join(out)

    @staticmethod
    def _shifted(places: list[Place], by: int) -> list[Place]:
        # Most texts have none.
        return places and [(at + by, place) for at, place in places if at + by >= 0]

    def _kept(self, text: str, start: int, end: int) -> str:
        """Return what leaves for a part of ``text`` in which there is nothing."""
        return text[start:end]

    def _drop(self, text: str, position: int, pattern: Pattern, final: bool) -> int:
        """Return where in ``text`` the masked block goes on or ends; it has ended when _tail is None."""
        if self._block is not None:
            limit = position + self._block
            end = text.find(pattern.until, position, limit + len(pattern.until))
            if end < 0 and len(text) < limit + len(pattern.until):
                reached = len(text) if final else max(position, len(text) - len(pattern.until) + 1)
                self._block -= reached - position
                return reached
            self._block = None
            if end < 0:
                self._tail = None
                return limit
            position = end + len(pattern.until)
        if pattern.tail:
            position = pattern.tail.match(text, position).end()  # type: ignore[union-attr]  # matches ""
        if position < len(text) or final or not pattern.tail:
            self._tail = None
        return position


def mask(rules: Rules, text: str, found: set[str]) -> str:
    """Return a whole text with everything masked; ``found`` gets the ids."""
    return TextFilter(rules, found).feed(text, final=True)


class JsonFilter(TextFilter):
    """Filters a text that is JSON: looks at what it says, and leaves the rest as it was spelled.

    An escape (RFC 8259 section 7) is the character that it stands for, wherever it is: nothing is
    assumed of a text that only claims to be JSON.
    """

    def __init__(self, rules: Rules, found: set[str]):
        super().__init__(rules, found)
        self._spelt: list[str] = []  # of each character that is kept, how it came
        self._open = ""  # the beginning of an escape

    @property
    def holds(self) -> bool:
        """Whether a part of the text has not left yet, or is being dropped."""
        return bool(self._open) or super().holds

    def feed(self, text: str, *, final: bool = False) -> str:
        """Return what may leave once ``text`` has come; with ``final``, all that there is."""
        new = (_LAST_CHARACTERS if final else _CHARACTERS).findall(self._open + text)
        self._open = new.pop() if not final and new and _OPEN.fullmatch(new[-1]) else ""
        self._spelt += new
        out = super().feed("".join(map(_said, new)), final=final)
        del self._spelt[: len(self._spelt) - len(self._before + self._held)]
        return out

    def _kept(self, _text: str, start: int, end: int) -> str:
        return "".join(self._spelt[start:end])


_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_CHARACTER = rf"{_HIGH}{_LOW}|\\u[0-9a-fA-F]{{4}}|\\[\"\\/bfnrt]|."
_BEGUN = rf"(?:{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?|\\(?:u[0-9a-fA-F]{{0,3}})?)\Z"
_OPEN = re.compile(_BEGUN)
_CHARACTERS = re.compile(f"{_BEGUN}|{_CHARACTER}", re.DOTALL)
_LAST_CHARACTERS = re.compile(_CHARACTER, re.DOTALL)


def _said(spelt: str) -> str:
    """Return the one character that is spelt so."""
    return spelt if len(spelt) == 1 else str(json.loads(f'"{spelt}"'))
