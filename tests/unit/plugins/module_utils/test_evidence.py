# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import evidence
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

WHEN = "2026-11-21T00:00:00Z"


@pytest.mark.parametrize(
    ("holds", "denial", "control", "verdict"),
    [
        (True, True, "reached from client", "passed"),
        (True, True, None, "unproven"),
        (True, False, None, "passed"),
        (False, True, "reached from client", "failed"),
        (False, False, None, "failed"),
    ],
)
def test_a_denial_counts_only_with_its_positive_control(
    holds: bool, denial: bool, control: str | None, verdict: str
) -> None:
    today = datetime.date(2026, 11, 21)
    judged = evidence.judge(holds=holds, denial=denial, positive_control=control, today=today)
    assert judged == verdict


@pytest.mark.parametrize(
    ("until", "holds", "verdict"),
    [
        ("2026-11-22", False, "waived"),
        ("2026-11-21", False, "waived"),
        ("2026-11-20", False, "failed"),
        ("2026-11-20", True, "passed"),
    ],
)
def test_a_waiver_is_good_until_its_day_is_over(until: str, holds: bool, verdict: str) -> None:
    waiver = {"reason": "no switch", "until": until}
    today = datetime.date(2026, 11, 21)
    judged = evidence.judge(
        holds=holds, denial=False, positive_control=None, waiver=waiver, today=today
    )
    assert judged == verdict


@pytest.mark.parametrize(
    "waiver", [{"reason": " ", "until": "2026-12-01"}, {"reason": "no switch", "until": "soon"}]
)
def test_a_waiver_without_reason_or_end_is_none(waiver: dict[str, str], tmp_path: Path) -> None:
    evidence.start(str(tmp_path))
    with pytest.raises(AirlockError, match="this is not a waiver"):
        evidence.append(str(tmp_path), "a", [record(holds=False, waiver=waiver)], WHEN)


def record(**facts: object) -> dict[str, object]:
    return {
        "control": "NET-01",
        "vantage": "self",
        "probe": "p",
        "expected": "refused",
        "observed": "refused",
        "holds": True,
        "denial": False,
        "positive_control": None,
        **facts,
    }


def test_a_run_ends_in_one_file_for_each_host(tmp_path: Path) -> None:
    directory = str(tmp_path / "evidence")
    evidence.start(directory)
    evidence.append(directory, "a", [record(), record(holds=False)], WHEN)
    evidence.append(directory, "b", [record()], WHEN)
    assert evidence.collect(directory, WHEN) == {
        "a": {"failed": 1, "unproven": 0, "waived": 0, "passed": 1},
        "b": {"failed": 0, "unproven": 0, "waived": 0, "passed": 1},
    }
    document = json.loads((tmp_path / "evidence" / "a.json").read_text())
    assert [entry["verdict"] for entry in document["records"]] == ["passed", "failed"]
    with pytest.raises(AirlockError, match="from its start"):
        evidence.collect(directory, WHEN)


def test_records_of_an_unfinished_run_are_forgotten(tmp_path: Path) -> None:
    directory = str(tmp_path)
    evidence.start(directory)
    evidence.append(directory, "old", [record()], WHEN)
    evidence.start(directory)
    evidence.append(directory, "new", [record()], WHEN)
    assert list(evidence.collect(directory, WHEN)) == ["new"]
