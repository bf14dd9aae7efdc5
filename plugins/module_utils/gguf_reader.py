# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a GGUF header from its beginning, bounded by the file and by a limit."""

from __future__ import annotations

import os
from struct import Struct
from typing import Any

from .formats_checked import refuse

MAX_HEADER = 96 * 1024**2
MAX_TOKEN = 65_535
_CHUNK = 1024**2

U32 = Struct("<I")
U64 = Struct("<Q")


class Reader:
    """Goes through the header once and holds the bytes up to where it is."""

    def __init__(self, descriptor: int, size: int, where: str):
        self.descriptor = descriptor
        self.size = size
        self.where = where
        self.data = bytearray()
        self.at = 0

    def spot(self, at: int, subject: str) -> str:
        return f"{self.where}, byte {at}, {subject}"

    def reach(self, end: int, subject: str) -> None:
        """Have the bytes up to ``end`` in ``data``."""
        if end <= len(self.data):
            return
        if end > self.size:
            raise refuse(
                "the file ends before the header does",
                self.spot(self.at, subject),
                f"at least {end} bytes",
                f"{self.size}",
            )
        if end > MAX_HEADER:
            raise refuse(
                "the header is too long", self.spot(self.at, subject), f"at most {MAX_HEADER} bytes"
            )
        while len(self.data) < end:
            chunk = os.pread(self.descriptor, _CHUNK, len(self.data))
            if not chunk:
                raise refuse("the file became shorter while it was read", self.where)
            self.data += chunk

    def number(self, layout: Struct, subject: str) -> Any:
        """Return the next number."""
        self.reach(self.at + layout.size, subject)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def text(self, limit: int, subject: str) -> bytes:
        """Return the next string, of at most ``limit`` bytes."""
        start = self.at
        length = self.number(U64, subject)
        if length > limit:
            raise refuse(
                "the string is too long",
                self.spot(start, subject),
                f"at most {limit} bytes",
                f"{length}",
            )
        self.reach(self.at + length, subject)
        self.at += length
        return bytes(memoryview(self.data)[self.at - length : self.at])

    def pass_texts(self, count: int, subject: str) -> None:
        """Go past ``count`` strings. The hot loop: a vocabulary has hundreds of thousands."""
        if count > (min(self.size, MAX_HEADER) - self.at) // U64.size:
            raise refuse(
                "the array has more strings than fit into the file",
                self.spot(self.at, subject),
                found=f"{count}",
            )
        unpack, at, left = U64.unpack_from, self.at, count
        while left:
            self.at = at
            self.reach(at + U64.size, subject)
            data, last = self.data, len(self.data) - U64.size
            while left and at <= last:
                (length,) = unpack(data, at)
                if length > MAX_TOKEN:
                    raise refuse(
                        "the string is too long",
                        self.spot(at, f"{subject}[{count - left}]"),
                        f"at most {MAX_TOKEN} bytes",
                        f"{length}",
                    )
                at += 8 + length
                left -= 1
        self.reach(at, subject)
        self.at = at
