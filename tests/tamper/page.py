# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix as a page of the documentation and as a table on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .attacks import Attack

PATH = Path(__file__).resolve().parents[2] / "docs" / "tamper-matrix.md"
Found = Mapping[str, Mapping[int, str]]
HEAD = """# Tamper matrix

Written by `tests/run-tamper --write-page`; the attacks are in `tests/tamper/attacks.py`.

Each of the {count} attacks is made by root on a real ext4 file system between the push of a model and the start of a
release, with the immutable flag cleared and put back, and each level of check is tried alone, on a file system of its
own. Untouched, the same model is let through by every level in the same run. A receipt (level 0) reads no byte of the
model and catches {receipt} of them; those that it misses ({missed}) are why every byte is read after a boot, once a
week and by `verify.yml`. Level 2 and 3 catch all of them.

| attack | receipt (0) | every byte (2) | SHA-256 and structure (3) |
|---|---|---|---|
"""
TAIL = """
What this cannot stop: root who reads the key of the receipts can write receipts for anything. Level 3 asks none, and
compares with the manifest alone; that is why the weekly check and `verify.yml` are of that level. Who replaces the
manifest, the drop-in of the unit and the lock on the controller as well has replaced the owner.
"""


def _cell(reason: str) -> str:
    return "caught" if reason else "**missed**"


def page(attacks: Iterable[Attack], found: Found) -> str:
    """Return the page."""
    missed = [attack for attack in attacks if attack.missed]
    head = HEAD.format(count=len(found), receipt=len(found) - len(missed), missed=len(missed))
    rows = [
        f"| {title} | {' | '.join(_cell(reason) for reason in levels.values())} |"
        for title, levels in found.items()
    ]
    notes = [f"*{attack.title}*: {attack.missed}." for attack in missed]
    return head + "\n".join([*rows, "", *notes]) + "\n" + TAIL


def plain(found: Found) -> str:
    """Return the table for a terminal, with the reasons of the receipts."""
    wide = max(map(len, found))
    return "\n".join(
        f"  {title:{wide}}  "
        + "  ".join(f"{_cell(reason).strip('*'):6}" for reason in levels.values())
        for title, levels in found.items()
    )
