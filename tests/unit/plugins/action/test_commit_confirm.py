# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.homelab.airlock.plugins.action import commit_confirm


class Clock:
    """Time that passes while the action sleeps or asks."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(commit_confirm, "time", clock)
    return clock


def action(clock: Clock, answers: list[Any]) -> Any:
    """Return an action whose host gives these answers, the last one for ever; each takes a second."""
    made = commit_confirm.ActionModule.__new__(commit_confirm.ActionModule)
    made._task_vars = {"inventory_hostname": "box"}
    made._question = {"change": "demo", "number": "1", "files": {}}
    made.asked = []

    def ask(address: str, stage: str) -> dict[str, str]:
        made.asked.append((address, stage))
        clock.sleep(1)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"state": answer, "detail": "why"}

    made._ask = ask
    return made


LOST = AnsibleConnectionFailure("no route")


def test_a_connection_that_saw_the_change_in_force_is_not_the_one_that_confirms(
    clock: Clock,
) -> None:
    made = action(clock, ["pending", LOST, "applied", LOST, "confirmed"])
    assert made._confirm("new", 30, "old")["address"] == "new"
    assert [stage for _address, stage in made.asked] == ["look"] * 3 + ["confirm"] * 2


def test_a_command_that_failed_ends_it_at_once(clock: Clock) -> None:
    with pytest.raises(AnsibleActionFail, match=r"box has put the previous state .*: why\."):
        action(clock, ["pending", "reverted"])._confirm("new", 30, "old")
    assert clock.now < 1010


def test_silence_is_followed_by_a_look_at_the_old_address_after_the_timer(clock: Clock) -> None:
    made = action(clock, [LOST])

    def ask(address: str, stage: str) -> dict[str, str]:
        made.asked.append((address, stage, clock.now))
        clock.sleep(1)
        if address == "old" and clock.now > 1035:
            return {"state": "reverted", "detail": "nobody confirmed it in time"}
        raise LOST

    made._ask = ask
    with pytest.raises(AnsibleActionFail) as caught:
        made._confirm("new", 30, "old")
    assert "No new connection to new confirmed the change within 30 s (no route)" in str(
        caught.value
    )
    assert "has put the previous state of 'demo' back, as it says itself" in str(caught.value)
    assert min(now for address, _stage, now in made.asked if address == "old") >= 1030


def test_a_host_that_stays_silent_is_not_called_safe(clock: Clock) -> None:
    with pytest.raises(AnsibleActionFail, match="does not answer at old either") as caught:
        action(clock, [LOST])._confirm("new", 30, "old")
    assert "systemctl start airlock-revert@demo" in str(caught.value)
    assert "has put" not in str(caught.value)
