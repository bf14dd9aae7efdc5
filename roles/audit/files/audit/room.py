# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the disk: what is left to the rest of the host, and lines that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# What is left to the rest of the host: the smaller of the two.
_RESERVE_BYTES = 1024**3
_RESERVE_SHARE = 20


def left(where: int | Path) -> tuple[int, int]:
    """Return the bytes that are free where a file or directory is, and how many shall stay so. Raises OSError."""
    disk = os.statvfs(where)
    reserve = min(_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // _RESERVE_SHARE)
    return disk.f_bavail * disk.f_frsize, reserve


def append(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` at the end of a file, or nothing. Raises OSError."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "the disk is full")
    except BaseException:
        os.ftruncate(descriptor, end)
        raise
