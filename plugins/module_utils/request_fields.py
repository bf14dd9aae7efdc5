# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the fields of a JSON body: what is not described is refused.

A rule is a dict from a data file:

``{"type": "string", "max_length": 64, "enum": [...], "pattern": "[a-z]+"}``
``{"type": "integer" | "number", "min": 0, "max": 2}``
``{"type": "boolean"}``
``{"type": "array", "items": RULE, "min_items": 1, "max_items": 4}``
``{"type": "object", "fields": {NAME: RULE}, "required": [NAME], "media": [NAME]}``
``{"type": "map", "values": RULE, "max_items": 300}`` (free names)
``{"type": "variant", "tag": "type", "variants": {VALUE: OBJECT RULE}, "default": VALUE,
"media": [VALUE]}``
``{"type": "json", "max_bytes": 16384, "max_depth": 16}`` (free JSON)
``{"type": "schema", "max_bytes": 16384, "max_depth": 12}`` (a JSON Schema, see
:mod:`request_schema`)
``{"type": "any", "of": [RULE, ...]}`` (alternatives with different JSON types)

``"nullable": true`` on any of them lets ``null`` pass. Every bound above is mandatory except
``enum``, ``pattern`` and ``min_items``: a rule without a bound is a mistake in the data file.
``media`` names what is refused with a sentence of its own: a backend would fetch or decode it.
A text in the place of a rule is the name of one, with a ``?`` at its end for a nullable one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from . import request_schema
from .errors import AirlockError

_MAX_NAME = 64  # characters of a name that the caller is free to choose
_MEDIA = "is media, which no service here takes; send text only"
_KEYS: dict[str, tuple[set[str], set[str]]] = {  # type: (mandatory, optional) keys
    "string": ({"max_length"}, {"enum", "pattern"}),
    "integer": ({"min", "max"}, set()),
    "number": ({"min", "max"}, set()),
    "boolean": (set(), set()),
    "array": ({"items", "max_items"}, {"min_items"}),
    "object": ({"fields"}, {"required", "media"}),
    "map": ({"values", "max_items"}, set()),
    "variant": ({"tag", "variants"}, {"default", "media"}),
    "json": ({"max_bytes", "max_depth"}, set()),
    "schema": ({"max_bytes", "max_depth"}, set()),
    "any": ({"of"}, set()),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "map": (dict,),
    "variant": (dict,),
    "json": (dict, list, str, int, float, bool),
    "schema": (dict,),
}
_ARTICLE = {
    "integer": "an integer",
    "array": "a list",
    "object": "an object",
    "map": "an object",
    "variant": "an object",
    "json": "JSON",
    "schema": "a JSON Schema",
}

Rule = dict[str, Any]


class FieldError(AirlockError):
    """A field that its rule refuses; ``path`` is its place, such as ``messages[0].content``."""

    def __init__(self, path: str, what: str):
        super().__init__(f"the field '{path}' {what}." if path else f"the body {what}.")
        self.path = path


def resolve(rule: Any, named: Mapping[str, Any]) -> Any:
    """Return ``rule`` with the rules of ``named`` in the place of their names.

    Raises KeyError for a name that is not there.
    """
    if isinstance(rule, str):
        found = resolve(named[rule.removesuffix("?")], named)
        return {**found, "nullable": True} if rule.endswith("?") else found
    if not isinstance(rule, dict):
        return rule
    changed = {key: resolve(rule[key], named) for key in ("items", "values") if key in rule}
    for key in ("fields", "variants"):
        if key in rule:
            changed[key] = {name: resolve(child, named) for name, child in rule[key].items()}
    if "of" in rule:
        changed["of"] = [resolve(child, named) for child in rule["of"]]
    return {**rule, **changed}


def check_rule(rule: Any, where: str) -> None:
    """Refuse a rule that says something this module does not understand. Raises AirlockError."""
    kind = rule.get("type") if isinstance(rule, dict) else None
    if kind not in _KEYS:
        raise AirlockError.refuse("this is not a rule", expected="a known type", where=where)
    mandatory, optional = _KEYS[kind]
    given = set(rule) - {"type", "nullable"}
    if not mandatory <= given <= mandatory | optional:
        raise AirlockError.refuse(
            f"a rule for {kind} is wrong",
            expected=", ".join(sorted(mandatory)) or "no bound",
            found=", ".join(sorted(given)) or "no bound",
            where=where,
        )
    if kind == "array":
        check_rule(rule["items"], f"{where}[]")
    elif kind == "map":
        check_rule(rule["values"], f"{where}.*")
    elif kind == "any":
        for index, choice in enumerate(rule["of"]):
            check_rule(choice, f"{where}|{index}")
    elif kind in ("object", "variant"):
        for name, child in rule["fields" if kind == "object" else "variants"].items():
            check_rule(child, f"{where}.{name}")
    if kind == "object" and not set(rule.get("required", ())) <= set(rule["fields"]):
        raise AirlockError.refuse("a required field is not among the fields", where=where)


def check_value(value: Any, rule: Rule, path: str = "") -> None:
    """Check parsed JSON against a rule that :func:`check_rule` accepted. Raises FieldError."""
    if value is None and rule.get("nullable"):
        return
    choice = next((one for one in _alternatives(rule) if _is(value, one["type"])), None)
    if choice is None:
        wanted = " or ".join(_article(one["type"]) for one in _alternatives(rule))
        raise FieldError(path, f"must be {wanted}")
    _CHECKS[choice["type"]](value, choice, path)


def _alternatives(rule: Rule) -> list[Rule]:
    return list(rule["of"]) if rule["type"] == "any" else [rule]


def _is(value: Any, kind: str) -> bool:
    # In Python True is an integer; in JSON it is not.
    if isinstance(value, bool):
        return bool in _TYPES[kind]
    return isinstance(value, _TYPES[kind])


def _article(kind: str) -> str:
    return _ARTICLE.get(kind, f"a {kind}")


def _check_string(value: str, rule: Rule, path: str) -> None:
    if len(value) > rule["max_length"]:
        raise FieldError(path, f"is longer than {rule['max_length']} characters")
    if "enum" in rule and value not in rule["enum"]:
        raise FieldError(path, f"must be one of {', '.join(rule['enum'])}")
    if "pattern" in rule and not re.fullmatch(rule["pattern"], value):
        raise FieldError(path, f"must match {rule['pattern']}")


def _check_number(value: float, rule: Rule, path: str) -> None:
    if not rule["min"] <= value <= rule["max"]:
        raise FieldError(path, f"must be between {rule['min']} and {rule['max']}")


def _check_boolean(value: bool, rule: Rule, path: str) -> None:
    """A boolean has no bounds."""


def _check_array(value: list[Any], rule: Rule, path: str) -> None:
    if len(value) > rule["max_items"]:
        raise FieldError(path, f"has more than {rule['max_items']} entries")
    if len(value) < rule.get("min_items", 0):
        raise FieldError(path, f"has fewer than {rule['min_items']} entries")
    for index, item in enumerate(value):
        check_value(item, rule["items"], f"{path}[{index}]")


def _check_object(value: dict[str, Any], rule: Rule, path: str) -> None:
    for name in rule.get("required", ()):
        if name not in value:
            raise FieldError(_join(path, name), "is missing")
    for name, item in value.items():
        if name not in rule["fields"]:
            media = name in rule.get("media", ())
            raise FieldError(_join(path, name), _MEDIA if media else "is not allowed")
        check_value(item, rule["fields"][name], _join(path, name))


def _check_map(value: dict[str, Any], rule: Rule, path: str) -> None:
    if len(value) > rule["max_items"]:
        raise FieldError(path, f"has more than {rule['max_items']} entries")
    for name, item in value.items():
        if len(name) > _MAX_NAME:
            raise FieldError(_join(path, name), f"is longer than {_MAX_NAME} characters")
        check_value(item, rule["values"], _join(path, name))


def _check_variant(value: dict[str, Any], rule: Rule, path: str) -> None:
    tag = value.get(rule["tag"], rule.get("default"))
    if not isinstance(tag, str) or tag not in rule["variants"]:
        media = tag in rule.get("media", ())
        wanted = f"must be one of {', '.join(rule['variants'])}"
        raise FieldError(_join(path, rule["tag"]), _MEDIA if media else wanted)
    check_value(value, rule["variants"][tag], path)


def _check_json(value: Any, rule: Rule, path: str) -> None:
    if len(json.dumps(value)) > rule["max_bytes"]:
        raise FieldError(path, f"is larger than {rule['max_bytes']} bytes")
    if request_schema.depth(value) > rule["max_depth"]:
        raise FieldError(path, f"is nested more than {rule['max_depth']} levels deep")


def _check_schema(value: dict[str, Any], rule: Rule, path: str) -> None:
    _check_json(value, rule, path)
    reason = request_schema.objection(value)
    if reason:
        raise FieldError(path, reason)


_CHECKS: dict[str, Any] = {
    "string": _check_string,
    "integer": _check_number,
    "number": _check_number,
    "boolean": _check_boolean,
    "array": _check_array,
    "object": _check_object,
    "map": _check_map,
    "variant": _check_variant,
    "json": _check_json,
    "schema": _check_schema,
}


def _join(path: str, name: str) -> str:
    # A name comes from the caller: what a message repeats of it is short and printable.
    shown = name if len(name) <= 64 and name.isprintable() else f"{name[:32]!a}..."
    return f"{path}.{shown}" if path else shown
