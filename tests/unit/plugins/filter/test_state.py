# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.homelab.airlock.plugins.filter import state

LOCK = {"serial": 3, "lineage": "one", "state_digest": "ab" * 32, "host": "box"}


def result(*sentences: str, intent_changed: bool = False) -> dict[str, Any]:
    return {
        "lock": LOCK,
        "differences": [{"sentence": sentence} for sentence in sentences],
        "intent_changed": intent_changed,
    }


def test_drift_is_listed_one_by_one() -> None:
    lines = state.drift_report(result("file /a: gone", "file /b: gone"), "box")
    assert lines[0] == (
        "DRIFT: box differs from its lock (serial 3) in 2 place(s). "
        "What you want has not changed since the lock was made."
    )
    assert lines[1:3] == ["- file /a: gone", "- file /b: gone"]
    assert (
        "this may be your own doing"
        in state.drift_report(result("x", intent_changed=True), "box")[0]
    )


def test_a_rebuild_is_timed_by_phase() -> None:
    marks = {"start": 100, "machine": 130, "build": 300, "compare": 305}
    report = state.rebuild_report(result(), "box", marks)
    assert report["phases"] == {"machine": 30, "build": 170, "compare": 5}
    assert (report["rto_seconds"], report["equal"]) == (205, True)
    assert state.rebuild_summary(report) == [
        "box was rebuilt in 205 s (machine 30 s, build 170 s, compare 5 s).",
        "It is what its lock says (serial 3).",
    ]


def test_a_rebuild_that_is_not_the_same_says_so() -> None:
    report = state.rebuild_report(result("file /a: gone"), "box", {"start": 0, "compare": 5})
    assert report["equal"] is False
    assert state.rebuild_summary(report)[1:] == ["- file /a: gone"]
