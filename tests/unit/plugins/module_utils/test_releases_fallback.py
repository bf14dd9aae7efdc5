# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import releases_slots
from ansible_collections.homelab.airlock.plugins.module_utils.releases_fallback import Fallback

WHY = "the file of model small is not the approved one."


class Systemd:
    """Units of which those of ``broken`` releases do not start."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.active: set[str] = set()
        self.enabled: set[str] = set()

    def __call__(self, command: list[str]) -> tuple[int, str]:
        if command[0] == "journalctl":
            return 0, f"{WHY}\n"
        verb, unit = command[1], command[-1]
        release = unit.removeprefix("airlock-runtime@").removesuffix(".service")
        if verb == "show":
            state = "active" if release in self.active else "failed"
            return 0, f"Id={unit}\nActiveState={state}\nInvocationID=i1\nResult=exit-code"
        if verb == "start":
            if release in self.broken:
                return 1, "failed"
            self.active.add(release)
        elif verb == "enable":
            self.enabled.add(release)
        else:
            assert verb == "disable"
            self.enabled.discard(release)
        return 0, ""


class House:
    def __init__(self, path: Path) -> None:
        self.path = path
        state = releases_slots.keep({}, [{"service": "chat", "release": "chat-1", "mode": "chat"}])
        for name in ("chat-2", "chat-3"):
            state = releases_slots.promote(
                state, {"service": "chat", "release": name, "mode": "chat"}
            )
        path.write_bytes(releases_slots.to_bytes(state))

    def failed(self, release: str, systemd: Systemd) -> list[str]:
        return Fallback(systemd, str(self.path), "root").apply(release)

    @property
    def answering(self) -> str:
        return releases_slots.answering(releases_slots.load(str(self.path))["chat"])


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "slots.json")


def test_the_previous_release_stands_in_also_at_the_next_boot(house: House) -> None:
    systemd = Systemd("chat-3")
    systemd.enabled = {"chat-3"}
    assert house.failed("chat-3", systemd) == [
        "The service chat is not answered by chat-3, which failed, but by its previous release "
        f"chat-2; run the playbook 'site' to repair it. It failed because {WHY}"
    ]
    assert house.answering == "chat-2"
    assert (systemd.active, systemd.enabled) == ({"chat-2"}, {"chat-2"})
    # What the owner released is still written there.
    assert releases_slots.load(str(house.path))["chat"]["current"] == "chat-3"


def test_then_the_fallback(house: House) -> None:
    systemd = Systemd("chat-3", "chat-2")
    house.failed("chat-3", systemd)
    assert house.answering == "chat-1"
    # The start of chat-2 has failed as well, and this unit runs for it; nothing is answered by it.
    assert house.failed("chat-2", systemd) == []
    assert house.answering == "chat-1"


def test_the_one_that_stands_in_can_fail_later(house: House) -> None:
    systemd = Systemd("chat-3")
    house.failed("chat-3", systemd)
    systemd.active.discard("chat-2")
    house.failed("chat-2", systemd)
    assert house.answering == "chat-1"


def test_a_service_that_nothing_can_answer_is_said_to_be_down(house: House) -> None:
    before = house.path.read_bytes()
    (said,) = house.failed("chat-3", Systemd("chat-1", "chat-2", "chat-3"))
    assert said.startswith(
        "The service chat is down: chat-3 failed and neither did chat-2 nor chat-1 start; run"
    )
    assert house.path.read_bytes() == before
    house.path.write_bytes(
        releases_slots.to_bytes(
            releases_slots.keep({}, [{"service": "chat", "release": "chat-1", "mode": "chat"}])
        )
    )
    (said,) = house.failed("chat-1", Systemd("chat-1"))
    assert said.startswith("The service chat is down: chat-1 failed and no other release can stand")


def test_nothing_is_done_for_who_does_not_answer_or_is_back(house: House) -> None:
    before = house.path.read_bytes()
    systemd = Systemd()
    for release in ("chat-1", "chat-2", "chat-9", "embed-1"):
        assert house.failed(release, systemd) == []
    systemd.active.add("chat-3")
    assert house.failed("chat-3", systemd) == []
    assert house.path.read_bytes() == before
    assert systemd.active == {"chat-3"}
