# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a safetensors file, and the index of a model in several of them, read as hostile things.

Layout (README of huggingface/safetensors): length of the header u64 little-endian, the header as JSON
that begins with "{", data. The header maps each tensor to ``{"dtype", "shape", "data_offsets": [begin,
end]}`` and ``__metadata__`` to a flat mapping of text. The data has no holes and ends with the file.

The header is taken apart entry by entry, so that what it costs is bound by its length, not by what its
JSON would unfold to. The tensor data is not looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from . import canonical
from .errors import AirlockError
from .formats_checked import Checked, refuse

MAX_HEADER = 32 * 1024**2
MAX_TENSORS = 262_144
MAX_NAME = 1024
MAX_ENTRY = 4096
MAX_METADATA = 1024**2
MAX_DIMENSIONS = 16
_LENGTH = 8
_BLANKS = re.compile(r"[ \t\r\n]*")
_MAX_NUMBER = 2**63 - 1

BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits an element of each type has."""


def looks_like(start: bytes, size: int) -> bool:
    """Say whether a file of ``size`` bytes that begins with ``start`` can be meant as safetensors."""
    return start[8:9] == b"{" and int.from_bytes(start[:_LENGTH], "little") <= size - _LENGTH


def check(descriptor: int, size: int, where: str) -> Checked:
    """Check the header of the open file of ``size`` bytes; ``where`` names it. Raises AirlockError."""
    start = os.pread(descriptor, _LENGTH, 0)
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH or not 2 <= length <= min(MAX_HEADER, size - _LENGTH):
        raise refuse(
            "the length of the header does not fit",
            f"{where}, byte 0",
            f"2 to {max(0, min(MAX_HEADER, size - _LENGTH))} bytes",
            f"{length}" if len(start) == _LENGTH else f"a file of {size} bytes",
        )
    raw = os.pread(descriptor, length, _LENGTH)
    if len(raw) < length:
        raise refuse("the file became shorter while it was read", where)
    header = _Header(raw, where)
    header.read()
    _fills(header.spans, size - _LENGTH - length, where)
    digest = hashlib.sha256(start)
    digest.update(raw)
    return Checked(
        "safetensors",
        tensor_count=len(header.spans),
        header_sha256=digest.hexdigest(),
        names=frozenset(header.spans),
    )


class _Header:
    """Walks over the one object of the header. ``spans`` are begin and end of each tensor in the data."""

    def __init__(self, raw: bytes, where: str):
        self.raw = raw
        # One character for each byte: places are those of the file, and no text of it takes four times its
        # room. What is kept of it is decoded as UTF-8, piece by piece; between the pieces all is ASCII.
        self.text = raw.decode("latin-1")
        self.where = where
        self.at = 0
        self.spans: dict[str, tuple[int, int]] = {}

    def read(self) -> None:
        if not self.text.startswith("{"):
            raise refuse("the header does not begin with its object", self._spot("its first byte"))
        self.at = 1
        if self._peek() == "}":
            self.at += 1
        else:
            self._entries()
        if self.text[self.at :].strip(" "):
            raise refuse("something follows the header's object", self._spot("its end"))

    def _entries(self) -> None:
        metadata = False
        while True:
            start = self.at
            name = self._string("a name", MAX_NAME)
            self._symbol(":", f"tensor '{name}'")
            if name in self.spans or (name == "__metadata__" and metadata):
                raise refuse("the name appears twice", self._spot(f"'{name}'", start))
            if name == "__metadata__":
                metadata = True
                self._metadata()
            else:
                self.spans[name] = self._tensor(name)
            if len(self.spans) > MAX_TENSORS:
                raise refuse(
                    "there are too many tensors", self.where, f"at most {MAX_TENSORS}", "more"
                )
            if not self._more("the header"):
                return

    def _tensor(self, name: str) -> tuple[int, int]:
        if self._peek() != "{":
            raise refuse("the tensor is no object", self._spot(f"tensor '{name}'"))
        start = self.at
        self.at = self.text.find("}", start, start + MAX_ENTRY) + 1
        spot = self._spot(f"tensor '{name}'", start)
        if not self.at:
            raise refuse("the entry is too long", spot, f"at most {MAX_ENTRY} bytes")
        entry = _json(self._decoded(start, self.at, spot), spot)
        if set(entry) != {"dtype", "shape", "data_offsets"}:
            raise refuse(
                "the entry has other fields",
                spot,
                "dtype, shape, data_offsets",
                ", ".join(sorted(entry))[:200] or "none",
            )
        return _span(entry["dtype"], entry["shape"], entry["data_offsets"], spot)

    def _metadata(self) -> None:
        subject, start = "'__metadata__'", self.at
        self._symbol("{", subject)
        if self._peek() == "}":
            self.at += 1
            return
        keys: set[str] = set()
        while True:
            key = self._string(subject, MAX_METADATA)
            if key in keys:
                raise refuse(f"the key '{key}' appears twice", self._spot(subject, start))
            keys.add(key)
            self._symbol(":", subject)
            self._string(f"{subject}, '{key}'", MAX_METADATA)
            if self.at - start > MAX_METADATA:
                raise refuse(
                    "the metadata is too long",
                    self._spot(subject, start),
                    f"at most {MAX_METADATA} bytes",
                )
            if not self._more(subject):
                return

    def _more(self, subject: str) -> bool:
        """Go past ',' (more follows) or '}' (nothing does)."""
        symbol = self._peek()
        if symbol not in (",", "}"):
            raise refuse("this is not valid JSON", self._spot(subject), "',' or '}'", repr(symbol))
        self.at += 1
        return symbol == ","

    def _peek(self) -> str:
        self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def _symbol(self, symbol: str, subject: str) -> None:
        found = self._peek()
        if found != symbol:
            raise refuse("this is not valid JSON", self._spot(subject), repr(symbol), repr(found))
        self.at += 1

    def _string(self, subject: str, limit: int) -> str:
        self._symbol('"', subject)
        start = self.at
        spot = self._spot(subject, start)
        try:
            _raw, self.at = scanstring(self.text, start, True)
            # The same again for what the escapes stand for, beside characters of several bytes.
            value, _end = scanstring(self._decoded(start, self.at, spot), 0, True)
        except ValueError as exc:
            raise refuse(f"this is not valid JSON ({exc})", spot) from exc
        if len(value) > limit or not _encodable(value):
            raise refuse("the text does not fit", spot, f"UTF-8, at most {limit} characters")
        return str(value)

    def _decoded(self, start: int, end: int, spot: str) -> str:
        try:
            return self.raw[start:end].decode("utf-8")
        except UnicodeDecodeError as exc:
            raise refuse(f"the header is not UTF-8 ({exc.reason})", spot) from exc

    def _spot(self, subject: str, at: int = -1) -> str:
        return f"{self.where}, byte {_LENGTH + (self.at if at < 0 else at)}, {subject}"


def _json(text: str, spot: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise refuse(f"this is not valid JSON ({exc})", spot) from exc
    return dict(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a field appears twice")
    return result


def _span(dtype: Any, shape: Any, offsets: Any, spot: str) -> tuple[int, int]:
    """Return begin and end in the data after holding them against type and shape."""
    if not isinstance(dtype, str) or dtype not in BITS:
        raise refuse("the type is unknown", spot, found=repr(dtype)[:80])
    if not _numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise refuse(
            "the shape is impossible", spot, f"at most {MAX_DIMENSIONS} numbers", repr(shape)[:80]
        )
    if not _numbers(offsets) or len(offsets) != 2:
        raise refuse("the offsets are impossible", spot, "two numbers", repr(offsets)[:80])
    bits = BITS[dtype]
    for extent in shape:
        bits *= extent
        if bits > _MAX_NUMBER:
            raise refuse("the shape is impossible", spot, found=repr(shape)[:80])
    begin, end = offsets
    if (end - begin) * 8 != bits:
        raise refuse(
            "the offsets do not span type and shape", spot, f"{bits / 8:g} bytes", f"{end - begin}"
        )
    return begin, end


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= _MAX_NUMBER
        for item in value
    )


def _fills(spans: Mapping[str, tuple[int, int]], size: int, where: str) -> None:
    """Refuse data that has holes, overlaps, or does not end with the file."""
    position = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != position:
            raise refuse(
                "the tensor overlaps the one before it"
                if begin < position
                else "the data has a hole",
                f"{where}, tensor '{name}'",
                f"begin {position}",
                f"{begin}",
            )
        position = end
    if position != size:
        raise refuse(
            "the declared data does not fill the file",
            where,
            f"{position} bytes of data",
            f"{size}",
        )


def check_index(data: bytes, where: str) -> Checked:
    """Check ``*.safetensors.index.json``: which file holds which tensor. Raises AirlockError."""
    try:
        index = canonical.parse(data, where=where, max_bytes=MAX_HEADER)
    except AirlockError as exc:
        raise refuse(str(exc).rstrip("."), "") from exc
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards or set(index) - {"metadata", "weight_map"}:
        raise refuse("this is no index", where, "'weight_map' and 'metadata'")
    for name, shard in shards.items():
        if not isinstance(shard, str) or not _plain(shard):
            raise refuse(
                "the shard is no file beside the index",
                f"{where}, tensor '{name[:MAX_NAME]}'",
                "something like model-00001-of-00002.safetensors",
                repr(shard)[:200],
            )
    return Checked("safetensors-index", tensor_count=len(shards), shards=shards)


def _plain(name: str) -> bool:
    return (
        name.endswith(".safetensors")
        and not name.startswith(".")
        and "/" not in name
        and "\\" not in name
        and name.isprintable()
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as an escape
        return False
    return True
