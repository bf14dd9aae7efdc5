# SPDX-License-Identifier: GPL-3.0-or-later
"""Other models made of a first one: the same GGUF with another name in it, or with a byte that nobody approved."""

from __future__ import annotations

import struct
from pathlib import Path

from testinfra.host import Host

_KEY = b"general.name"
_STRING = 8  # of the types of GGUF values
_FLIP = """
import os, sys
sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")
from airlock import sealing
sealing.unseal(sys.argv[1])
with open(sys.argv[1], "r+b") as file:
    file.seek(4096)
    byte = file.read(1)[0]
    file.seek(4096)
    file.write(bytes([byte ^ 1]))
sealing.make_immutable(os.open(sys.argv[1], os.O_RDONLY))
"""


def make_variant(source: Path, target: Path) -> None:
    """Copy the GGUF at ``source`` to ``target`` with the last letter of its ``general.name`` changed."""
    data = bytearray(source.read_bytes())
    head = struct.pack("<Q", len(_KEY)) + _KEY + struct.pack("<I", _STRING)
    start = data.index(head) + len(head)
    last = start + 8 + struct.unpack_from("<Q", data, start)[0] - 1
    data[last] = ord("y") if data[last] != ord("y") else ord("z")
    target.write_bytes(data)


def flip(host: Host, path: str) -> None:
    """Flip one bit of the sealed file at ``path``, as its root could; once more, and it is as it was."""
    host.check_output("python3 -c %s %s", _FLIP, path)
