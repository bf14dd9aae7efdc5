# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import evidence, lives
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

START = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ANN: dict[str, Any] = {
    "id": "ann",
    "sha256": "1" * 64,
    "not_before": "2026-11-21T12:00:00Z",
    "not_after": "2026-12-21T12:00:00Z",
    "services": ["chat"],
}
RETIRING = {"retiring": {"sha256": "2" * 64, "until": "2026-12-06T12:00:00Z"}}


def judged(
    *kept: dict[str, Any], day: float, visit: int = 15, waiting: tuple[str, ...] = ()
) -> list[str]:
    """Return the verdict on each record, ``day`` days after the key was made."""
    now = START + timedelta(days=day)
    return [
        evidence.judge(
            holds=record["holds"],
            denial=False,
            positive_control=None,
            waiver=record.get("waiver"),
            today=now.date(),
        )
        for record in lives.of_keys(
            kept, "KEY-07", visit=timedelta(days=visit), waiting=waiting, now=now
        )
    ]


@pytest.mark.parametrize(
    ("visit", "green", "amber"),
    [(15, 14.9, 15), (1, 22.4, 22.5), (90, 14.9, 15)],
    ids=["comes every 15 days", "is always on", "comes too seldom"],
)
def test_a_key_is_amber_long_before_it_is_red(visit: int, green: float, amber: float) -> None:
    found = [judged(ANN, day=day, visit=visit) for day in (0, green, amber, 29.9, 30, 99)]
    assert found == [["passed"], ["passed"], ["waived"], ["waived"], ["failed"], ["failed"]]


def test_a_key_that_nobody_handed_over_is_amber_until_the_one_before_it_ends() -> None:
    kept = {**ANN, **RETIRING}
    assert judged(kept, day=1, visit=1, waiting=("ann",)) == ["passed", "passed"]
    assert judged(kept, day=9, visit=1, waiting=("ann",)) == ["passed", "waived"]
    assert judged(kept, day=9, visit=1) == ["passed"]
    assert judged(kept, day=15, visit=1, waiting=("ann",)) == ["passed"]


def test_a_record_says_whose_key_it_is_and_what_to_do() -> None:
    records = lives.of_keys(
        [{**ANN, **RETIRING}, {**ANN, "id": "bob", "revoked": "2026-11-22T12:00:00Z"}],
        "KEY-07",
        visit=timedelta(days=15),
        waiting=["ann"],
        now=START + timedelta(days=14),
    )
    assert [record["probe"] for record in records] == [
        "how long the key ann is still taken",
        "how long the key ann of before is still taken",
    ]
    assert records[0]["expected"] == "more than 360h"
    assert records[1]["observed"] == "until 2026-12-06 12:00 UTC"
    assert records[1]["waiver"]["reason"] == "hand ann.key over and delete it here"


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(AirlockError, match=r"keys\.json"):
        judged({**ANN, "not_after": "soon"}, day=0)
