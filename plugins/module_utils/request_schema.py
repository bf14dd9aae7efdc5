# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in a JSON Schema that a client sends.

A backend turns the schema into a grammar before it answers. A reference that leaves the document
would be fetched, and a large repetition becomes as many rules, repetitions inside one another as
many as their product: both are refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

MAX_REPEAT = 1000
MAX_NESTED = 100_000  # the product of repetitions inside one another
MAX_PATTERN = 256  # characters
MAX_REFERENCES = 16  # one behind the other

_LOCAL = re.compile(r"#(/[A-Za-z0-9_$.%~-]+)*")
# They move the base against which references are resolved (JSON Schema 2020-12, section 8.2).
_MOVING = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef")
_REPEATS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_LARGE_REPEAT = re.compile(r"\{[^}]*\d{4}")
# What comes before tells whether it repeats a group or a repetition, or only one character.
_REPETITION = re.compile(r"(?:(?<=([)}*+?]))|)\{([0-9, ]+)\}")


def depth(value: Any) -> int:
    """Return how many levels of objects and lists ``value`` has; 0 for a plain value."""
    levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        levels += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return levels


def objection(schema: dict[str, Any]) -> str | None:
    """Return what a backend must not see of ``schema``, as the end of a sentence; None: nothing.

    Only a member of a plain type is a keyword: below ``properties`` the same names hold schemas.
    """
    for name, value in _members(schema):
        if isinstance(value, (dict, list)):
            continue
        if name == "$ref" and not (isinstance(value, str) and _LOCAL.fullmatch(value)):
            return "refers to something outside itself; only references such as #/$defs/x pass"
        if name in _MOVING:
            return f"uses {name}, which changes what references mean"
        if name in _REPEATS and not (_is_number(value) and 0 <= value <= MAX_REPEAT):
            return f"has {name} outside 0 to {MAX_REPEAT}"
        if name == "pattern" and not _is_small_pattern(value):
            return f"has a pattern beyond {MAX_PATTERN} characters or {MAX_REPEAT} repetitions"
    if _Nesting(schema).product(schema) > MAX_NESTED:
        return f"repeats what repeats itself, more than {MAX_NESTED} times in all"
    return None


class _Nesting:
    """Finds how often the innermost part of a schema is repeated at most."""

    def __init__(self, root: Any):
        self._root = root
        self._known: dict[int, float] = {}

    def product(self, value: Any, references: int = 0) -> float:
        """Return the greatest product of repetitions inside one another in ``value``.

        What refers to itself counts once: a backend makes a rule of it that does so too.
        """
        if not isinstance(value, (dict, list)):
            return 1.0
        if id(value) not in self._known:
            self._known[id(value)] = 1.0
            inner = value if isinstance(value, list) else value.values()
            products = [1.0, *(self.product(item, references) for item in inner)]
            if isinstance(value, dict):
                products.append(self._referred(value.get("$ref"), references + 1))
            here = _repeated(value) if isinstance(value, dict) else 1.0
            self._known[id(value)] = here * max(products)
        return self._known[id(value)]

    def _referred(self, reference: Any, references: int) -> float:
        if not isinstance(reference, str):
            return 1.0
        if references > MAX_REFERENCES:
            return math.inf
        value = self._root
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return self.product(value, references)


def _repeated(schema: dict[str, Any]) -> float:
    """Return how often what is directly in ``schema`` is repeated."""
    counts = [float(schema[name]) for name in _REPEATS if _is_number(schema.get(name))]
    pattern = schema.get("pattern")
    return max([1.0, *counts, _nested(pattern) if isinstance(pattern, str) else 1.0])


def _nested(pattern: str) -> float:
    """Return at least how often the innermost part of ``pattern`` is repeated.

    Groups count as nested even where they follow one another: that needs no parser that a strange
    pattern could lead astray.
    """
    single = groups = 1.0
    for before, counts in _REPETITION.findall(pattern):
        count = max([1, *map(int, re.findall(r"[0-9]+", counts))])
        if before:
            groups *= count
        else:
            single = max(single, count)
    return single * groups


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_small_pattern(value: Any) -> bool:
    short = isinstance(value, str) and len(value) <= MAX_PATTERN
    return short and not _LARGE_REPEAT.search(value)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield from item.items()
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
