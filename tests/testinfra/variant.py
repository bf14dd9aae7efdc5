# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a second model of a first one: the same GGUF with another name in it, so that its digest differs."""

from __future__ import annotations

import struct
from pathlib import Path

_KEY = b"general.name"
_STRING = 8  # of the types of GGUF values


def make_variant(source: Path, target: Path) -> None:
    """Copy the GGUF at ``source`` to ``target`` with the last letter of its ``general.name`` changed."""
    data = bytearray(source.read_bytes())
    head = struct.pack("<Q", len(_KEY)) + _KEY + struct.pack("<I", _STRING)
    start = data.index(head) + len(head)
    last = start + 8 + struct.unpack_from("<Q", data, start)[0] - 1
    data[last] = ord("y") if data[last] != ord("y") else ord("z")
    target.write_bytes(data)
