# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a GGUF header: each is checked, the few that others depend on are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct

from . import gguf_kinds as kinds
from .formats_checked import refuse
from .gguf_reader import U32, U64, Reader

MAX_KEY = 1024
MAX_TEXT = 40 * 1024**2
MAX_TEMPLATE = 1024**2

_NUMBERS = {kind: Struct(f"<{code}") for kind, (_name, code) in kinds.KINDS.items() if code}
_KEY = re.compile(rb"[!-~]+")
_BYTE = re.compile(rb"<0x[0-9A-Fa-f]{2}>")
_BYTE_TYPE = U32.pack(kinds.BYTE_TOKEN)


@dataclass(frozen=True)
class _Array:
    """Where an array lies: element kind, number of elements, byte offset of the first and of the end."""

    kind: int
    count: int
    start: int
    end: int


class Keys:
    """What the keys say: ``arrays`` by key, the ``texts`` and ``numbers`` that others depend on."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.seen: set[str] = set()
        self.arrays: dict[str, _Array] = {}
        self.texts: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}

    def read(self, count: int) -> None:
        for index in range(count):
            self._entry(f"key {index}")
        self._vocabulary()

    def _entry(self, subject: str) -> None:
        reader = self.reader
        start = reader.at
        raw = reader.text(MAX_KEY, subject)
        if not _KEY.fullmatch(raw):
            raise refuse(
                "the key is not a name",
                reader.spot(start, subject),
                "printable ASCII without blanks",
                repr(raw[:80]),
            )
        key = raw.decode("ascii")
        subject = f"key '{key}'"
        if key in self.seen:
            raise refuse("the key appears twice", reader.spot(start, subject))
        self.seen.add(key)
        start = reader.at
        kind = self._kind(subject)
        if kind == kinds.ARRAY:
            self._array(key, subject)
            return
        self._wanted(key, kinds.KINDS[kind][0], start, subject)
        if kind == kinds.STRING:
            self._text(key, subject)
        else:
            self._number(key, kind, subject)

    def _kind(self, subject: str) -> int:
        start = self.reader.at
        kind = int(self.reader.number(U32, subject))
        if kind not in kinds.KINDS:
            raise refuse(
                "the kind of value is unknown",
                self.reader.spot(start, subject),
                f"0 to {max(kinds.KINDS)}",
                f"{kind}",
            )
        return kind

    def _wanted(self, key: str, name: str, start: int, subject: str) -> None:
        wanted = kinds.wanted_kinds(key)
        if wanted and name not in wanted:
            raise refuse(
                "the value is of the wrong kind",
                self.reader.spot(start, subject),
                " or ".join(wanted),
                name,
            )

    def _text(self, key: str, subject: str) -> None:
        template = key == kinds.CHAT_TEMPLATE or key.startswith(f"{kinds.CHAT_TEMPLATE}.")
        start = self.reader.at
        value = self.reader.text(MAX_TEMPLATE if template else MAX_TEXT, subject)
        try:
            value.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise refuse(
                f"the text is not UTF-8 ({exc.reason})", self.reader.spot(start, subject)
            ) from exc
        if b"\0" in value:
            # A runtime in C reads up to it: what it uses is not what was looked at.
            raise refuse("the text holds a NUL", self.reader.spot(start, subject))
        if template or key == "general.architecture":
            self.texts[key] = value

    def _number(self, key: str, kind: int, subject: str) -> None:
        start = self.reader.at
        value = self.reader.number(_NUMBERS[kind], subject)
        if kind == kinds.BOOL and value > 1:
            raise refuse(
                "the truth value is neither", self.reader.spot(start, subject), "0 or 1", f"{value}"
            )
        limits = kinds.wanted_range(key)
        if limits and not limits[0] <= value <= limits[1]:
            raise refuse(
                "the number is beyond what runtimes can take",
                self.reader.spot(start, subject),
                f"{limits[0]} to {limits[1]}",
                f"{value}",
            )
        if key == "general.alignment" or key.startswith("split."):
            self.numbers[key] = int(value)

    def _array(self, key: str, subject: str) -> None:
        reader = self.reader
        start = reader.at
        kind = self._kind(subject)
        if kind == kinds.ARRAY:
            raise refuse("the array holds arrays", reader.spot(start, subject), "plain elements")
        self._wanted(key, f"array of {kinds.KINDS[kind][0]}", start, subject)
        count = int(reader.number(U64, subject))
        first = reader.at
        if kind == kinds.STRING:
            reader.pass_texts(count, subject)
        else:
            reader.reach(first + count * _NUMBERS[kind].size, subject)
            reader.at = first + count * _NUMBERS[kind].size
        if kind == kinds.BOOL and bytes(reader.data[first : reader.at]).strip(b"\0\1"):
            raise refuse("a truth value is neither 0 nor 1", reader.spot(first, subject))
        self.arrays[key] = _Array(kind, count, first, reader.at)

    def _vocabulary(self) -> None:
        """Hold the arrays that runtimes index by token against the number of tokens."""
        tokens = self.arrays.get(kinds.VOCABULARY)
        for key in (kinds.SCORES, kinds.TYPES):
            array = self.arrays.get(key)
            if array and array.count != (tokens.count if tokens else 0):
                raise refuse(
                    f"the array is not as long as '{kinds.VOCABULARY}'",
                    self.reader.spot(array.start, f"key '{key}'"),
                    f"{tokens.count if tokens else 0} elements",
                    f"{array.count}",
                )
        if tokens and kinds.TYPES in self.arrays:
            self._byte_tokens(tokens, self.arrays[kinds.TYPES])

    def _byte_tokens(self, tokens: _Array, types: _Array) -> None:
        """Check that a token of the type 'byte' is <0xNN>: loaders index by that number (llama.cpp#27226)."""
        data, found, index, at = self.reader.data, types.start, 0, tokens.start
        while (found := data.find(_BYTE_TYPE, found, types.end)) >= 0:
            wanted, odd = divmod(found - types.start, 4)
            found += 1
            if odd:
                continue
            while index < wanted:
                at += 8 + U64.unpack_from(data, at)[0]
                index += 1
            text = bytes(data[at + 8 : at + 8 + U64.unpack_from(data, at)[0]])
            if not _BYTE.fullmatch(text):
                raise refuse(
                    "the byte token does not name a byte",
                    self.reader.spot(at, f"key '{kinds.VOCABULARY}[{wanted}]'"),
                    "<0x00> to <0xFF>",
                    repr(text[:80]),
                )
