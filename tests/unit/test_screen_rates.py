# SPDX-License-Identifier: GPL-3.0-or-later
"""The published rates of the input screen are those of the tables that hosts get."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.homelab.airlock.tests.screens import tables

REPORT = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def test_the_tables_are_those_that_were_measured() -> None:
    measured = re.findall(r"^[0-9a-f]{64}  \S+$", REPORT.read_text(encoding="utf-8"), re.MULTILINE)
    assert measured == tables.digests(), (
        "a table of the input screen has changed: measure it again with tests/run-peers, and put what it prints into "
        "docs/benchmarks.md"
    )


def test_at_most_one_of_a_hundred_ordinary_texts_is_flagged() -> None:
    [(hits, total)] = re.findall(
        r"^False alarms on ordinary text, .*: (\d+) of ([\d,]+) ",
        REPORT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert int(hits) * 100 <= int(total.replace(",", ""))
