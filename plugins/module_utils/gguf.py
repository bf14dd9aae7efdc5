# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a GGUF file, version 2 and 3, read as a hostile thing.

Layout (ggml docs/gguf.md), little-endian: "GGUF", version u32, number of tensors u64, number of keys u64,
the keys with their values, the tensors (name, dimensions, type, offset), zeros up to the alignment, data.

Refused is what llama.cpp's own reader refuses, and what others let through: data that does not fill the
file (CVE-2026-7482), kinds that loaders cast blindly, a byte token that is not two hex digits, counts
and lengths beyond any real model. The tensor data is not looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
from struct import Struct

from . import gguf_kinds as kinds
from .formats_checked import Checked, refuse, template_digest
from .gguf_keys import Keys
from .gguf_reader import U32, U64, Reader

MAGIC = b"GGUF"
MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_NAME = 63
MAX_ALIGNMENT = 1024**2
MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
_MAX_NUMBER = 2**63 - 1

_START = Struct("<4sIQQ")
_COUNT_AT = 8
_ARCHITECTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check(descriptor: int, size: int, where: str) -> Checked:
    """Check the header of the open file of ``size`` bytes; ``where`` names it. Raises AirlockError."""
    reader = Reader(descriptor, size, where)
    reader.reach(_START.size, "the start")
    magic, version, tensor_count, key_count = _START.unpack_from(reader.data)
    _start(reader, magic, version, tensor_count, key_count)
    reader.at = _START.size
    keys = Keys(reader)
    keys.read(key_count)
    alignment = _alignment(keys)
    architecture = _architecture(keys)
    names, total, last = _tensors(reader, tensor_count, alignment)
    header = _padded(reader.at, alignment)
    ends = {header + last, header + total} if tensor_count else {reader.at, header}
    if size not in ends:
        raise refuse(
            "the declared data does not fill the file",
            where,
            " or ".join(f"{end} bytes" for end in sorted(ends)),
            f"{size} bytes",
        )
    header = min(header, size)
    reader.reach(header, "the padding before the data")
    if any(reader.data[reader.at : header]):
        raise refuse("the padding before the data is not zero", reader.spot(reader.at, "padding"))
    return Checked(
        "gguf",
        version=version,
        architecture=architecture,
        tensor_count=tensor_count,
        alignment=alignment,
        header_sha256=hashlib.sha256(memoryview(reader.data)[:header]).hexdigest(),
        chat_template_sha256=template_digest(
            {
                key[len(kinds.CHAT_TEMPLATE) :].lstrip("."): text
                for key, text in keys.texts.items()
                if key.startswith(kinds.CHAT_TEMPLATE)
            }
        ),
        split=(
            keys.numbers.get("split.no", 0),
            keys.numbers.get("split.count", 0),
            keys.numbers.get("split.tensors.count", 0),
        ),
        names=frozenset(names),
    )


def has_tensors(descriptor: int) -> bool:
    """Say whether an open file whose header was checked holds tensors; the first part of a model may not.

    Raises OSError.
    """
    return int.from_bytes(os.pread(descriptor, U64.size, _COUNT_AT), "little") > 0


def _start(reader: Reader, magic: bytes, version: int, tensors: int, keys: int) -> None:
    if magic != MAGIC:
        raise refuse("this is not GGUF", reader.spot(0, "magic"), repr(MAGIC), repr(magic))
    if version not in (2, 3):
        swapped = version & 0xFFFF == 0
        raise refuse(
            "the version is not accepted",
            reader.spot(4, "version"),
            "2 or 3, little-endian",
            f"{version >> 24}, big-endian" if swapped else f"{version}",
        )
    for at, subject, count, limit in (
        (8, "number of tensors", tensors, MAX_TENSORS),
        (16, "number of keys", keys, MAX_KEYS),
    ):
        if count > limit:
            raise refuse(
                "the count is beyond any real model",
                reader.spot(at, subject),
                f"at most {limit}",
                f"{count}",
            )


def _alignment(keys: Keys) -> int:
    value = keys.numbers.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
        raise refuse(
            "the alignment does not fit",
            f"{keys.reader.where}, key 'general.alignment'",
            f"a power of two from 8 to {MAX_ALIGNMENT}",
            f"{value}",
        )
    return value


def _architecture(keys: Keys) -> str:
    """Return the architecture; only the later parts of a split model have none."""
    if "general.architecture" not in keys.texts and keys.numbers.get("split.no", 0) > 0:
        return ""
    value = keys.texts.get("general.architecture", b"").decode()
    if not _ARCHITECTURE.fullmatch(value):
        raise refuse(
            "the architecture is not a name" if value else "the architecture is missing",
            f"{keys.reader.where}, key 'general.architecture'",
            "letters, digits, '.', '_', '-'",
            repr(value[:80]) if value else "",
        )
    return value


def _tensors(reader: Reader, count: int, alignment: int) -> tuple[set[str], int, int]:
    """Return the names, and where the data ends with and without the padding of the last tensor."""
    names: set[str] = set()
    total = last = 0
    for index in range(count):
        start = reader.at
        raw = reader.text(MAX_NAME, f"tensor {index}")
        name = raw.decode("utf-8", "replace")
        subject = f"tensor '{name}'"
        if not name.isprintable() or not name or "\ufffd" in name:
            raise refuse("the name is not text", reader.spot(start, subject), found=repr(raw))
        if name in names:
            raise refuse("the tensor appears twice", reader.spot(start, subject))
        names.add(name)
        start = reader.at
        length = _tensor_length(reader, subject)
        offset = reader.number(U64, subject)
        if offset != total:
            raise refuse(
                "the tensor does not follow the one before it",
                reader.spot(reader.at - U64.size, subject),
                f"offset {total}",
                f"{offset}",
            )
        last = offset + length
        total = _padded(last, alignment)
        if last > reader.size:
            raise refuse(
                "the tensor is larger than the file",
                reader.spot(start, subject),
                f"an end within {reader.size} bytes",
                f"{last} bytes of data",
            )
    return names, total, last


def _tensor_length(reader: Reader, subject: str) -> int:
    """Return the number of bytes that dimensions and type make."""
    start = reader.at
    dimensions = reader.number(U32, subject)
    if dimensions > MAX_DIMENSIONS:
        raise refuse(
            "the tensor has too many dimensions",
            reader.spot(start, subject),
            f"at most {MAX_DIMENSIONS}",
            f"{dimensions}",
        )
    shape = [int(reader.number(U64, subject)) for _dimension in range(dimensions)]
    elements = 1
    for extent in shape:
        elements *= extent
        if not 0 < elements <= _MAX_NUMBER:
            raise refuse(
                "the shape is impossible",
                reader.spot(start, subject),
                f"1 to {_MAX_NUMBER} elements",
                f"{shape}",
            )
    start = reader.at
    kind = reader.number(U32, subject)
    if kind not in kinds.TENSORS:
        raise refuse("the type is unknown", reader.spot(start, subject), found=f"{kind}")
    name, block, size = kinds.TENSORS[kind]
    if (shape[0] if shape else 1) % block:
        raise refuse(
            f"the rows do not divide into blocks of {name}",
            reader.spot(start, subject),
            f"a multiple of {block}",
            f"{shape}",
        )
    return elements // block * size


def _padded(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
