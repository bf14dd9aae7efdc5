# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import request_schema

SOUND: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "$ref": {"type": "string", "maxLength": 1000, "pattern": "^[a-z]{1,999}$"},
        "pattern": {"type": "string"},
        "maxItems": {"type": "integer"},
        "$id": {"enum": ["x"]},
        "node": {"$ref": "#/$defs/node"},
        "self": {"$ref": "#"},
    },
    "required": ["$ref"],
    "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 0}},
}


def test_what_ordinary_tools_generate_passes() -> None:
    assert request_schema.objection(SOUND) is None


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ({"$ref": "http://169.254.169.254/x"}, "outside itself"),
        ({"$ref": "file:///etc/passwd"}, "outside itself"),
        ({"$ref": "other.json#/x"}, "outside itself"),
        ({"$ref": "//x/#/y"}, "outside itself"),
        ({"$ref": ""}, "outside itself"),
        ({"$ref": 1}, "outside itself"),
        ({"$ref": "#/a b"}, "outside itself"),
        ({"$id": "http://x/"}, "what references mean"),
        ({"$dynamicRef": "#x"}, "what references mean"),
        ({"$recursiveRef": "#"}, "what references mean"),
        ({"maxItems": 1001}, "maxItems outside"),
        ({"minLength": -1}, "minLength outside"),
        ({"maxLength": 1e30}, "maxLength outside"),
        ({"maxLength": "1"}, "maxLength outside"),
        ({"minProperties": True}, "minProperties outside"),
        ({"pattern": "a{1,10000}"}, "pattern beyond"),
        ({"pattern": "a{10000}"}, "pattern beyond"),
        ({"pattern": "a" * 257}, "pattern beyond"),
        ({"pattern": 1}, "pattern beyond"),
    ],
)
def test_what_costs_the_backend_too_much_or_leads_outside_is_named(
    keyword: dict[str, Any], text: str
) -> None:
    for schema in (keyword, {"properties": {"x": keyword}}, {"anyOf": [{}, {"items": keyword}]}):
        assert text in str(request_schema.objection(schema))


def nested(levels: int, times: int) -> dict[str, Any]:
    inner = nested(levels - 1, times) if levels > 1 else {"type": "string"}
    return {"type": "array", "minItems": times, "items": inner}


def chained(levels: int, times: int) -> dict[str, Any]:
    """The same as ``nested`` by references."""
    defs = {
        f"a{level}": {"maxItems": times, "items": {"$ref": f"#/$defs/a{level + 1}"}}
        for level in range(levels)
    }
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{levels}": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        nested(2, 1000),
        nested(4, 1000),
        chained(4, 1000),
        chained(200, 1),
        {"pattern": "((((a{999}){999}){999}){999})"},
        {"pattern": "(a{ 0, 999}){999}"},
        {"pattern": "a{999}{999}"},
        {"pattern": "(?:(?:ab|c){0,900}){0,}{900}"},
        {"minItems": 999, "items": {"pattern": "a{999}"}},
    ],
    ids=repr,
)
def test_repetitions_inside_one_another_are_bounded(schema: dict[str, Any]) -> None:
    for outer in (
        schema,
        {"properties": {"x": {"items": schema}}} if "$ref" not in schema else schema,
    ):
        assert "repeats what repeats itself" in str(request_schema.objection(outer))


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        {"pattern": r"^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$"},
        {"pattern": r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,126}[a-z]{2,63}$"},
        {"maxItems": 100, "items": {"type": "string", "maxLength": 1000}},
        chained(3, 40),
        {"maxItems": 900, "items": {"anyOf": [{"type": "string"}, {"$ref": "#"}]}},
        {"$ref": "#/$defs/nowhere"},
    ],
    ids=repr,
)
def test_ordinary_repetitions_pass(schema: dict[str, Any]) -> None:
    assert request_schema.objection(schema) is None


@pytest.mark.parametrize(
    ("value", "depth"), [(1, 0), ("x", 0), ({}, 1), ([], 1), ({"a": [{}], "b": 1}, 3), ([[], 1], 2)]
)
def test_depth_counts_objects_and_lists(value: Any, depth: int) -> None:
    assert request_schema.depth(value) == depth
