# SPDX-License-Identifier: GPL-3.0-or-later
"""Safetensors files and indexes: a small good one, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from struct import pack
from typing import Any

from .case import Case

INDEX = "model.safetensors.index.json"


def tensor(
    dtype: Any = "F32", shape: Any = (2, 2), begin: Any = 0, end: Any = 16
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(header: Any, data: bytes = bytes(16), length: int = -1) -> bytes:
    """Return a file with this header: bytes as they are, anything else as JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return pack("<Q", len(raw) if length < 0 else length) + raw + data


def _one(**fields: Any) -> bytes:
    return safetensors({"w": tensor(**fields)})


def _raw(text: str, data: bytes = bytes(16)) -> bytes:
    return safetensors(text.encode(), data)


_W = '"dtype":"F32","shape":[2,2],"data_offsets":[0,16]'


def _header() -> Iterable[tuple[str, bytes, str]]:
    whole = safetensors({"w": tensor()})
    yield "nothing but a length", pack("<Q", 2), "header does not fit"
    yield "seven bytes", bytes(7), "header does not fit"
    yield "header of 0 bytes", safetensors({"w": tensor()}, length=0), "header does not fit"
    yield "header of 1 byte", safetensors({"w": tensor()}, length=1), "header does not fit"
    yield "header longer than the file", safetensors({"w": tensor()}, length=10**6), "does not fit"
    yield "header of 2^63 bytes", safetensors({"w": tensor()}, length=2**63), "does not fit"
    yield "header of -1 bytes", safetensors({"w": tensor()}, length=2**64 - 1), "does not fit"
    yield "cut in the header", whole[:30], "does not fit"
    yield "cut by one byte", whole[:-1], "does not fill the file"
    yield "a byte more", whole + b"\0", "does not fill the file"
    yield "a pickle behind it", whole + b"cos\nsystem\n(S'id'\ntR.", "does not fill the file"
    yield "blank before the object", _raw(' {"w":{' + _W + "}}"), "begin with its object"
    yield "a list", _raw("[]"), "begin with its object"
    yield "not closed", _raw('{"w":{' + _W + "}"), "not valid JSON"
    yield "not JSON", _raw("{w: 1}"), "not valid JSON"
    yield "another mark for the colon", _raw('{"w";{' + _W + "}}"), "not valid JSON"
    yield "not UTF-8", safetensors(b'{"\xff":{}}'), "not UTF-8"
    yield "a second object", _raw('{"w":{' + _W + "}}{}"), "follows"
    yield "a NUL behind it", _raw('{"w":{' + _W + "}}\0"), "follows"
    yield "a comma at the end", _raw('{"w":{' + _W + "},}"), "not valid JSON"


def _names() -> Iterable[tuple[str, bytes, str]]:
    yield "tensor twice", _raw('{"w":{' + _W + '},"w":{' + _W + "}}"), "appears twice"
    escaped = _raw('{"w":{' + _W + '},"\\u0077":{' + _W + "}}")
    yield "tensor twice, once escaped", escaped, "appears twice"
    yield "metadata twice", _raw('{"__metadata__":{},"__metadata__":{}}', b""), "appears twice"
    yield "field twice", _raw('{"w":{' + _W + ',"dtype":"F32"}}'), "appears twice"
    yield (
        "key of the metadata twice",
        _raw('{"__metadata__":{"a":"1","a":"2"}}', b""),
        "appears twice",
    )
    yield "metadata with a number", safetensors({"__metadata__": {"a": 1}}, b""), "not valid JSON"
    yield "metadata with an object", safetensors({"__metadata__": {"a": {}}}, b""), "not valid JSON"
    yield "metadata as list", safetensors({"__metadata__": []}, b""), "not valid JSON"
    yield "half a surrogate pair", _raw('{"\\ud800":{' + _W + "}}"), "text does not fit"
    yield "name of 2000 characters", safetensors({"n" * 2000: tensor()}), "text does not fit"
    yield "tensor as null", safetensors({"w": None}), "no object"
    yield "tensor as text", safetensors({"w": "F32"}), "no object"
    yield "tensor within a tensor", safetensors({"w": {"dtype": tensor()}}), "byte"
    for field in ("dtype", "shape", "data_offsets"):
        entry = tensor()
        del entry[field]
        yield f"without {field}", safetensors({"w": entry}), "other fields"
    yield "one field more", safetensors({"w": {**tensor(), "code": "x"}}), "other fields"
    yield "endless entry", safetensors({"w": tensor(shape=[1] * 3000)}), "entry is too long"


def _spans() -> Iterable[tuple[str, bytes, str]]:
    yield "unknown type", _one(dtype="F33"), "type is unknown"
    yield "type as number", _one(dtype=32), "type is unknown"
    yield "type as list", _one(dtype=["F32"]), "type is unknown"
    for shape in ([-2, -2], [2.0, 2], [True, 4], ["4"], None, [4, None], [1] * 17 + [4]):
        yield f"shape {shape}"[:40], _one(shape=shape), "shape is impossible"
    yield "shape that wraps", _one(shape=[2**32, 2**32]), "shape is impossible"
    yield "shape of 5000 digits", _raw('{"w":{' + _W.replace("2,2", "9" * 5000) + "}}"), "too long"
    yield (
        "shape of 3000 digits",
        _raw('{"w":{' + _W.replace("2,2", "9" * 3000) + "}}"),
        "impossible",
    )
    deep = _W.replace("[2,2]", "[" * 900 + "]" * 900)
    yield "shape of 900 levels", _raw('{"w":{' + deep + "}}"), "shape is impossible"
    yield "NaN", _raw('{"w":{' + _W.replace("16", "NaN") + "}}"), "offsets are impossible"
    yield "three offsets", safetensors({"w": {**tensor(), "data_offsets": [0, 8, 16]}}), "offsets"
    yield "offsets as text", _one(begin="0"), "offsets are impossible"
    yield "negative offset", _one(begin=-16, end=0), "offsets are impossible"
    yield "offset as float", _one(end=16.0), "offsets are impossible"
    yield "offset of 2^64", _one(begin=2**64, end=2**64 + 16), "offsets are impossible"
    yield "offsets reversed", _one(begin=16, end=0), "do not span"
    yield "span too short", _one(end=15), "do not span"
    yield "span too long", _one(end=20), "do not span"
    yield "half a byte", safetensors({"w": tensor("F4", [3], 0, 1)}, b"\0"), "do not span"
    a, b = tensor("U8", [8], 0, 8), tensor("U8", [8], 8, 16)
    yield "hole at the start", safetensors({"b": b}), "hole"
    hole = {"a": tensor("U8", [4], 0, 4), "b": b}
    yield "hole in the middle", safetensors(hole), "hole"
    overlap = {"a": a, "b": tensor("U8", [12], 4, 16)}
    yield "overlap", safetensors(overlap), "overlaps"
    yield "the same bytes twice", safetensors({"a": a, "c": a, "b": b}), "overlaps"
    yield "hole at the end", safetensors({"a": a}), "does not fill the file"
    yield "beyond the file", safetensors({"a": tensor("U8", [99], 0, 99)}), "does not fill the file"
    yield "no tensors, but data", safetensors({}), "does not fill the file"


def _indexes() -> Iterable[tuple[str, bytes, str]]:
    def index(value: Any) -> bytes:
        return json.dumps(value).encode()

    for shard in ("../model.safetensors", "/etc/shadow.safetensors", "a/b.safetensors", "a.bin", 1):
        yield f"shard {shard}", index({"weight_map": {"w": shard}}), "no file beside the index"
    yield "index without shards", index({"weight_map": {}}), "this is no index"
    yield "index without a map", index({"metadata": {}}), "this is no index"
    yield "index as list", index([]), "this is no index"
    yield "index with code", index({"weight_map": {"w": "a.safetensors"}, "code": 1}), "no index"
    twice = b'{"weight_map":{"w":"a.safetensors","w":"b.safetensors"}}'
    yield "tensor in two shards", twice, "appears twice"
    yield "index of 70 levels", b'{"weight_map":' + b"[" * 70 + b"]" * 70 + b"}", "too deeply"


def bad() -> list[Case]:
    """Return what must be refused."""
    files = [
        Case("safetensors", name, "model.safetensors", data, words)
        for part in (_header(), _names(), _spans())
        for name, data, words in part
    ]
    return files + [Case("index", name, INDEX, data, words) for name, data, words in _indexes()]


def good() -> list[Case]:
    """Return what must be accepted."""
    a, b = tensor("U8", [8], 0, 8), tensor("U8", [8], 8, 16)
    spaced = json.dumps({"w": tensor()}, indent=2).encode() + b"   "
    widths = {"BOOL": 1, "F8_E5M2": 1, "BF16": 2, "F16": 2, "F64": 8, "I64": 8, "F4": 0.5}
    typed = {name: tensor(name, [16], 0, int(16 * width)) for name, width in widths.items()}
    files = {
        "one tensor": safetensors({"w": tensor()}),
        "metadata": safetensors(
            {"__metadata__": {"format": "pt", "note": "} \\u007d"}, "w": tensor()}
        ),
        "metadata last": safetensors({"w": tensor(), "__metadata__": {}}),
        "nothing": safetensors({}, b""),
        "blanks": safetensors(spaced),
        "another order": safetensors({"b": b, "a": a}),
        "an empty tensor": safetensors({"e": tensor("F32", [0, 4], 0, 0), "w": tensor()}),
        "a scalar": safetensors({"s": tensor("F32", [], 0, 4)}, bytes(4)),
        "names of any script": safetensors({'größe "1" }': tensor()}),
        **{
            f"type {name}": safetensors({name: entry}, bytes(entry["data_offsets"][1]))
            for name, entry in typed.items()
        },
    }
    index = {
        "metadata": {"total_size": 16},
        "weight_map": {"w": "model-00001-of-00001.safetensors"},
    }
    return [
        *(Case("safetensors", name, "model.safetensors", data) for name, data in files.items()),
        Case("index", "index", INDEX, json.dumps(index).encode()),
    ]
