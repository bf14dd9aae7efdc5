# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal of a host says of its audit trail, and when."""

from __future__ import annotations

from ansible_collections.homelab.airlock.plugins.modules import audit_trail

TRAIL, DIGEST = "0123456789abcdef", "ab" * 32
LINE = "{}.123456 box python3[7]: checkpoint trail=" + TRAIL + " seq={} sha256=" + DIGEST


def journal(lines: list[str], daily: list[str]) -> list[dict[str, object]]:
    def run(command: list[str]) -> tuple[int, str]:
        assert command[0] == "journalctl"
        return 0, "\n".join(daily if "--priority=notice" in command else lines) + "\n"

    return audit_trail._checkpoints(run)


def test_the_last_minutes_and_the_first_checkpoint_of_each_day_are_read() -> None:
    minutes = [LINE.format(1795255200 + 60 * n, 100 + n) for n in range(3)]
    days = [LINE.format(1795168800, 7), minutes[0]]
    found = journal([*minutes, "1795255200.000001 box python3[7]: the disk is full"], days)
    assert [(entry["when"], entry["seq"]) for entry in found] == [
        (1795168800, 7),
        (1795255200, 100),
        (1795255260, 101),
        (1795255320, 102),
    ]
    assert {(entry["trail"], entry["sha256"]) for entry in found} == {(TRAIL, DIGEST)}


def test_what_is_no_line_of_the_journal_is_not_read() -> None:
    for line in (f"    {LINE.format(1, 7)}", LINE.format("x", 7), f"{LINE.format(1, 7)} more", ""):
        assert journal([line], []) == [], line


def test_a_host_without_a_journal_says_nothing() -> None:
    assert audit_trail._checkpoints(lambda _command: (1, LINE.format(1, 7))) == []
