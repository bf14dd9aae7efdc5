# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an audit trail: ``audit.jsonl`` grows, ``audit-<its first record>.jsonl`` are complete."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .files import read_limited

DIRECTORY = "/var/log/airlock/audit"
LIVE = "audit.jsonl"
MAX_BYTES = 64 * 1024 * 1024
"""More than a segment may have."""

_CLOSED = re.compile(r"audit-([0-9]{12})\.jsonl")


@dataclass(frozen=True)
class Segment:
    """A complete file of the trail and its first record."""

    first: int
    path: str


def closed_name(first: int) -> str:
    """Return the name of the complete segment whose first record is ``first``."""
    return f"audit-{first:012}.jsonl"


def closed(directory: str) -> list[Segment]:
    """Return the complete segments, oldest first. Raises OSError."""
    return sorted(
        (
            Segment(int(match[1]), os.path.join(directory, match[0]))
            for name in os.listdir(directory)
            if (match := _CLOSED.fullmatch(name))
        ),
        key=lambda segment: segment.first,
    )


def read_after(directory: str, first: int, budget: int) -> tuple[list[tuple[int, bytes]], bool]:
    """Return complete segments that begin after record ``first``, then the growing one; True if that was all.

    At least one, and no further one once ``budget`` bytes are reached. Each is (its first record by name,
    0 for the growing one; content). Raises AirlockError for a file that is too large, OSError.
    """
    found: list[tuple[int, bytes]] = []
    used = 0
    for segment in closed(directory):
        if segment.first > first:
            if found and used >= budget:
                return found, False
            found.append((segment.first, read_limited(segment.path, MAX_BYTES)))
            used += len(found[-1][1])
    if found and used >= budget:
        return found, False
    newest = found[-1][0] if found else first
    live = _live(directory)
    # It became complete while the others were read.
    if any(segment.first > newest for segment in closed(directory)):
        more, done = read_after(directory, newest, 0)
        return found + more, done
    return [*found, (0, live)], True


def _live(directory: str) -> bytes:
    """Return the growing segment; a line that is being written is waited for a little."""
    data = b""
    for _again in range(3):
        try:
            data = read_limited(os.path.join(directory, LIVE), MAX_BYTES)
        except FileNotFoundError:
            return b""
        if data.endswith(b"\n"):
            break
    return data
