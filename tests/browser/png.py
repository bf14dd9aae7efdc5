# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of a PNG decoder (RFC 2083) to count the colours of a screenshot."""

from __future__ import annotations

import struct
import zlib
from collections import Counter


def colours(data: bytes) -> Counter[tuple[int, int, int]]:
    """Return how many pixels of each RGB colour an 8-bit RGB or RGBA picture has."""
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8 and kind in (2, 6), "a screenshot is 8-bit RGB or RGBA"
    step = 3 if kind == 2 else 4
    raw = zlib.decompress(b"".join(_chunks(data, b"IDAT")))
    counts: Counter[tuple[int, int, int]] = Counter()
    above = bytes(width * step)
    for row in range(height):
        start = row * (width * step + 1)
        above = _unfilter(raw[start], raw[start + 1 : start + 1 + width * step], above, step)
        counts.update(zip(above[0::step], above[1::step], above[2::step], strict=True))
    return counts


def _chunks(data: bytes, wanted: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == wanted:
            found.append(data[at + 8 : at + 8 + length])
        at += length + 12
    return found


def _unfilter(method: int, line: bytes, above: bytes, step: int) -> bytes:
    done = bytearray(line)
    for index in range(len(done)):
        left = done[index - step] if index >= step else 0
        up = above[index]
        corner = above[index - step] if index >= step else 0
        done[index] = (done[index] + _predict(method, left, up, corner)) & 0xFF
    return bytes(done)


def _predict(method: int, left: int, up: int, corner: int) -> int:
    if method == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda value: abs(estimate - value))
    return (0, left, up, (left + up) // 2)[method]
