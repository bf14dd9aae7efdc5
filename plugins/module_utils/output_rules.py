# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer may not hold, as patterns that can be told from their first characters on.

A pattern is a sequence of parts: a literal, or ``[CLASS, MIN, MAX]``, a class of characters and how
often. There is no nesting and no alternation, so a search costs at most the longest pattern times
the text, and from the same parts follows a second expression that finds *beginnings* of the
pattern at the end of a text. That is what lets a stream flow: only what may still become a match
is held back. A pattern with a ``place`` is met only where such a place begins
(:mod:`output_places`), and searched nowhere else.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .errors import AirlockError
from .output_checks import CHECKS, Check
from .output_places import PLACES, Place

MAX_LENGTH = 960
_CANARY = range(8, 301)  # characters
_SHORT = 64  # characters in which one search for all patterns costs less than one for each
_CLASS = re.compile(r"\[(?:[^\[\]\\]|\\.)+\]", re.DOTALL)
_KEYS = {"id", "category", "parts"}
_OPTIONAL = {"before", "after", "check", "tail", "until", "mask", "place"}


@dataclass(frozen=True)
class Pattern:
    """One thing to be found. ``tail`` is a class and ``until`` a literal: what follows a match and
    is masked with it; ``mask`` is what stands there then, ``place`` where alone it may begin, or ""."""

    id: str
    category: str
    mask: str
    whole: re.Pattern[str]
    beginning: str
    length: int
    check: Check | None
    tail: re.Pattern[str] | None
    until: str
    place: str


class Rules:
    """The patterns in force, and the hosts that links may lead to."""

    def __init__(self, patterns: Iterable[Pattern], hosts: Iterable[str]):
        self.patterns = tuple(patterns)
        self.hosts = frozenset(host.lower() for host in hosts)
        self._longest = max((pattern.length for pattern in self.patterns), default=0)
        anywhere = [pattern for pattern in self.patterns if not pattern.place]
        self._whole = _any(pattern.whole.pattern for pattern in anywhere)
        self._beginning = _any(pattern.beginning for pattern in anywhere)
        self.places = {
            place: _any(pattern.beginning for pattern in self.patterns if pattern.place == place)
            for place in {pattern.place for pattern in self.patterns} - {""}
        }

    @classmethod
    def from_document(
        cls,
        document: Any,
        *,
        categories: Collection[str],
        canaries: Iterable[str] = (),
        hosts: Iterable[str] = (),
        where: str,
    ) -> Rules:
        """Build the rules from the parsed data file ``{"version", "dated", "patterns": [...]}``.

        Only patterns of ``categories`` are in force; ``canaries`` are strings that may never be
        in an answer. Raises AirlockError for anything that is not understood.
        """
        try:
            patterns = [
                _pattern(entry, f"{where}: {entry['id']}") for entry in document["patterns"]
            ]
        except (KeyError, TypeError, ValueError, re.error) as exc:
            raise AirlockError.refuse(
                "these are not the patterns of the output filter", found=repr(exc), where=where
            ) from exc
        unknown = set(categories) - {pattern.category for pattern in patterns}
        if unknown:
            raise AirlockError.refuse(
                "there is no such category of patterns",
                found=", ".join(sorted(unknown)),
                where=where,
            )
        planted = [_canary(text, where) for text in canaries]
        return cls([*planted, *(each for each in patterns if each.category in categories)], hosts)

    def pending(self, text: str, start: int, places: Iterable[Place] = ()) -> int | None:
        """Return where the first text begins, from ``start``, that may become a match; or None."""
        found = self._beginning.search(text, max(start, len(text) - self._longest))
        held = found.start() if found else None
        for at, place in places:
            if held is not None and held <= at:
                break
            if at >= start and place in self.places and self.places[place].match(text, at):
                return at
        return held

    def may_match(self, text: str) -> bool:
        """Tell whether it is worth searching ``text``, outside of places, for each pattern."""
        return len(text) > _SHORT or self._whole.search(text) is not None


class Search:
    """Finds the matches in one text from left to right; of two at one place the first pattern's."""

    def __init__(self, rules: Rules, text: str, places: Collection[Place]):
        self._rules = rules
        self._text = text
        self._hopeless = not places and not rules.may_match(text)
        self._places: dict[str, list[int]] = defaultdict(list)
        for at, place in places:
            self._places[place].append(at)
        self._next: list[tuple[int, int] | None] = [(-1, -1)] * len(rules.patterns)

    def next(self, start: int) -> tuple[int, int, Pattern] | None:
        """Return the first match at or after ``start``: its start, its end, its pattern."""
        if self._hopeless:
            return None
        best: tuple[int, int, Pattern] | None = None
        for index, pattern in enumerate(self._rules.patterns):
            found = self._next[index]
            if found is not None and found[0] < start:
                found = self._next[index] = self._find(pattern, start)
            if found is not None and (best is None or found[0] < best[0]):
                best = (*found, pattern)
        return best

    def _find(self, pattern: Pattern, start: int) -> tuple[int, int] | None:
        while found := self._candidate(pattern, start):
            if pattern.check is None:
                return found.span()
            length = pattern.check(found[0], self._rules.hosts)
            if length:
                return found.start(), found.start() + length
            start = found.start() + 1
        return None

    def _candidate(self, pattern: Pattern, start: int) -> re.Match[str] | None:
        if not pattern.place:
            return pattern.whole.search(self._text, start)
        places = self._places.get(pattern.place, ())
        following = range(bisect_left(places, start), len(places))
        matches = (pattern.whole.match(self._text, places[index]) for index in following)
        return next(filter(None, matches), None)


def _any(expressions: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(expressions) or r"(?!)", re.DOTALL)


def _canary(text: str, where: str) -> Pattern:
    if not isinstance(text, str) or len(text) not in _CANARY:
        raise AirlockError.refuse(
            "a canary is too short to be told from other text, or too long",
            expected=f"{_CANARY[0]} to {_CANARY[-1]} characters",
            where=where,
        )
    return _pattern({"id": "canary", "category": "canary", "parts": [text]}, where)


def _pattern(entry: dict[str, Any], where: str) -> Pattern:
    if not _KEYS <= set(entry) <= _KEYS | _OPTIONAL:
        raise AirlockError.refuse(
            "a pattern has other members",
            expected=", ".join(sorted(_KEYS | _OPTIONAL)),
            found=", ".join(sorted(entry)),
            where=where,
        )
    steps = [step for part in entry["parts"] for step in _steps(part, where)]
    length = sum(most for _class, _least, most in steps)
    if not steps or length > MAX_LENGTH or steps[0][1] < 1:
        raise AirlockError.refuse(
            "a pattern is empty, too long, or may begin with anything",
            expected=f"at most {MAX_LENGTH} characters",
            where=where,
        )
    place = entry.get("place", "")
    if place not in ("", *PLACES):
        raise AirlockError.refuse("there is no such place", found=repr(place), where=where)
    # Behind the first character, so that the search for that one can be a fast one.
    first = steps[0][0]
    before = f"(?<!{_class(entry['before'], where)}{first})" if "before" in entry else ""
    after = f"(?!{_class(entry['after'], where)})" if "after" in entry else ""
    rest = [(first, steps[0][1] - 1, steps[0][2] - 1), *steps[1:]]
    return Pattern(
        id=entry["id"],
        category=entry["category"],
        mask=entry.get("mask", f"[masked: {entry['id']}]"),
        whole=re.compile(first + before + "".join(map(_repeated, rest)) + after, re.DOTALL),
        beginning=first + before + _beginning(rest, after),
        length=length,
        check=CHECKS[entry["check"]] if "check" in entry else None,
        tail=re.compile(f"{_class(entry['tail'], where)}*") if "tail" in entry else None,
        until=entry.get("until", ""),
        place=place,
    )


def _steps(part: Any, where: str) -> list[tuple[str, int, int]]:
    if isinstance(part, str):
        return [(re.escape(char), 1, 1) for char in part]
    name, least, most = part
    if not 0 <= least <= most or most < 1:
        raise AirlockError.refuse("a part may occur how often", found=repr(part), where=where)
    return [(_class(name, where), least, most)]


def _class(text: str, where: str) -> str:
    if not _CLASS.fullmatch(text):
        raise AirlockError.refuse("this is not a class of characters", found=text, where=where)
    return text


def _repeated(step: tuple[str, int, int]) -> str:
    name, least, most = step
    if most <= 1:
        return name * least + f"{name}?" * (most - least)
    return f"{name}{{{least},{most}}}"


def _beginning(steps: list[tuple[str, int, int]], after: str) -> str:
    """Return the expression for a text that ends before it is certain how the pattern ends.

    For the steps a, b: ``a{0,most-1}`` at the end of the text, or ``a{least,most}`` and then the
    beginning of b, and so on. A pattern whose end depends on what follows waits for that too.
    """
    result = r"\Z" if after else r"(?!)"
    for step in reversed(steps):
        name, _least, most = step
        if most:
            result = rf"(?:{_repeated((name, 0, most - 1))}\Z|{_repeated(step)}{result})"
    return result
