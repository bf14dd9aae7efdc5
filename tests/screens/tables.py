# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the input screen, and how a report says which of them it was made with."""

from __future__ import annotations

import hashlib
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "roles/gateway/files/screens"
NAMES = ("input.json", "weights.json")


def digests() -> list[str]:
    """Return a line for each table, as sha256sum(1) writes it."""
    return [f"{hashlib.sha256((DATA / name).read_bytes()).hexdigest()}  {name}" for name in NAMES]
