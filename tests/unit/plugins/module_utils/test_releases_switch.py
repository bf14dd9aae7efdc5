# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    canonical,
    releases_retire,
    releases_slots,
    releases_switch,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.releases import Flags, LaunchConfig
from ansible_collections.homelab.airlock.plugins.module_utils.releases_switch import Switch, Wanted


class Systemd:
    """Units that start at once, unless they are among ``refusing``."""

    def __init__(self, refusing: tuple[str, ...] = ()) -> None:
        self.refusing = refusing
        self.active: set[str] = set()
        self.failed: set[str] = set()
        self.enabled: set[str] = set()
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        if command[0] == "journalctl":
            return 0, "the model is not the approved one.\n"
        verb = next(word for word in command[1:] if not word.startswith("-"))
        units = [word for word in command if word.endswith(".service") and "*" not in word]
        if verb == "cat":
            return 0, "TimeoutStartSec=90\nTimeoutStartSec=5\n"
        if verb == "show":
            return 0, "\n\n".join(self._show(unit) for unit in units)
        if verb == "list-units":
            return 0, "".join(f"{unit} loaded active running\n" for unit in sorted(self.active))
        if verb in ("start", "restart"):
            for unit in units:
                bad = any(name in unit for name in self.refusing)
                (self.failed if bad else self.active).add(unit)
                if bad:
                    self.active.discard(unit)
        elif verb == "enable":
            self.enabled |= set(units)
        elif verb == "disable":
            self.enabled -= set(units)
            self.active -= set(units)
        return 0, ""

    def _show(self, unit: str) -> str:
        state = "active" if unit in self.active else "failed" if unit in self.failed else "inactive"
        return (
            f"Id={unit}\nActiveState={state}\nSubState=running\nResult=exit-code\nInvocationID=i1\n"
            f"UnitFileState={'enabled' if unit in self.enabled else 'disabled'}\nMainPID=0\n"
            f"InactiveExitTimestampMonotonic={time.monotonic_ns() // 1000}"
        )

    def verbs(self) -> list[str]:
        return [
            next(word for word in command[1:] if not word.startswith("-"))
            for command in self.commands
            if command[0] == "systemctl"
        ]


class House:
    """A host with a record, a slot file and systemd."""

    def __init__(self, path: Path) -> None:
        self.record = Record()
        self.systemd = Systemd()
        self.slots = path / "slots.json"

    def switch(self, *, check: bool = False) -> Switch:
        return Switch(
            self.record,
            self.systemd,
            check=check,
            slots=str(self.slots),
            group="root",
            sleep=lambda _s: None,
        )

    def keep(self, *wanted: Wanted, check: bool = False) -> releases_switch.Outcome:
        return self.switch(check=check).keep(wanted)

    def promote(self, wanted: Wanted, *, check: bool = False) -> releases_switch.Outcome:
        return self.switch(check=check).promote(wanted)


def release(name: str, *inputs: str) -> Wanted:
    return Wanted(name.partition("-")[0], name, "chat", 5, inputs)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(
        releases_retire,
        "files_of",
        lambda name: [str(tmp_path / f"{name}.json"), str(tmp_path / name / "d")],
    )
    return House(tmp_path)


def test_releases_start_and_slots_follow(house: House) -> None:
    assert house.keep(release("chat-1"), check=True).reasons == [
        "chat-1: it does not run",
        "chat-1: it does not start at boot",
        "chat: current is chat-1",
    ]
    assert not house.slots.exists()
    outcome = house.keep(release("chat-1"))
    assert outcome.after["chat"]["current"] == "chat-1"
    assert releases_slots.load(str(house.slots)) == outcome.after
    assert house.slots.stat().st_mode & 0o777 == 0o640
    assert list(house.record.claims("runtime", "units")) == ["airlock-runtime@chat-1.service"]
    assert house.keep(release("chat-1")).reasons == []
    assert house.keep(release("chat-1"), check=True).reasons == []


def test_a_replaced_release_stops_but_keeps_its_files(house: House, tmp_path: Path) -> None:
    house.keep(release("chat-1"), release("embed-1"))
    for name in ("chat-1", "embed-1"):
        (tmp_path / f"{name}.json").touch()
        house.record.claim("runtime", "files", str(tmp_path / f"{name}.json"))
    outcome = house.promote(release("chat-2"))
    assert outcome.reasons == [
        "chat-2: it does not run",
        "chat-2: it does not start at boot",
        "chat: current is chat-2, was chat-1",
        "chat: previous is chat-1",
        "chat-1: no service needs it to run",
    ]
    assert house.keep(release("chat-2")).reasons == [
        "embed: it is no service any more",
        "embed-1: no service needs it to run",
        "embed-1: no slot remembers it",
    ]
    assert house.systemd.active == house.systemd.enabled == {"airlock-runtime@chat-2.service"}
    assert (tmp_path / "chat-1.json").exists()
    assert not (tmp_path / "embed-1.json").exists()
    assert str(tmp_path / "embed-1.json") not in house.record.claims("runtime", "files")
    assert "airlock-runtime@chat-1.service" in house.record.claims("runtime", "units")
    house.promote(release("chat-3"))
    assert (tmp_path / "chat-1.json").exists()
    house.promote(release("chat-4"))
    assert not (tmp_path / "chat-1.json").exists()
    assert house.keep(release("chat-4")).reasons == []


def test_what_is_current_stays_until_somebody_releases(house: House) -> None:
    house.keep(release("chat-1"))
    assert house.keep(release("chat-2")).reasons == []
    assert releases_slots.load(str(house.slots))["chat"]["current"] == "chat-1"


def test_a_canary_serves_beside_and_does_not_outlive_a_boot(house: House) -> None:
    house.keep(release("chat-1"))
    house.switch().stage(release("chat-2"))
    both = {"airlock-runtime@chat-1.service", "airlock-runtime@chat-2.service"}
    assert house.systemd.active == both
    assert house.systemd.enabled == {"airlock-runtime@chat-1.service"}
    assert house.switch(check=True).withdraw("chat").reasons == [
        "chat: canary is nothing, was chat-2",
        "chat-2: no service needs it to run",
        "chat-2: no slot remembers it",
    ]
    house.switch().withdraw("chat")
    assert house.systemd.active == {"airlock-runtime@chat-1.service"}
    # The host forgets one that a broken run has left, too.
    house.switch().stage(release("chat-2"))
    house.keep(release("chat-1"))
    assert house.systemd.active == {"airlock-runtime@chat-1.service"}


def test_a_rollback_goes_back_and_forward_again(house: House) -> None:
    house.keep(release("chat-1"))
    with pytest.raises(AirlockError, match="no previous release to go back to: found only chat-1"):
        house.switch().roll_back("chat")
    house.promote(release("chat-2"))
    for current, previous in (("chat-1", "chat-2"), ("chat-2", "chat-1")):
        predicted = house.switch(check=True).roll_back("chat")
        outcome = house.switch().roll_back("chat")
        assert outcome.reasons == predicted.reasons
        assert outcome.after["chat"]["current"] == current
        assert outcome.after["chat"]["previous"] == previous
        assert house.systemd.active == {f"airlock-runtime@{current}.service"}


def test_what_stood_in_goes_when_the_current_release_is_back(house: House) -> None:
    house.keep(release("chat-1"))
    house.promote(release("chat-2"))
    house.systemd.active = house.systemd.enabled = {"airlock-runtime@chat-1.service"}
    slots = releases_slots.load(str(house.slots))
    broken = releases_slots.stand_in(slots, "chat", "previous", "it is damaged.")
    house.slots.write_bytes(releases_slots.to_bytes(broken))
    house.systemd.refusing = ("chat-2",)
    with pytest.raises(AirlockError) as caught:
        house.keep(release("chat-2"))
    assert str(caught.value).endswith("For chat previous, chat-1, goes on answering.")
    assert releases_slots.load(str(house.slots)) == broken
    house.systemd.refusing = ()
    outcome = house.keep(release("chat-2"))
    assert "chat: chat-2 answers itself again, no other stands in" in outcome.reasons
    assert house.systemd.active == house.systemd.enabled == {"airlock-runtime@chat-2.service"}
    assert house.keep(release("chat-2")).reasons == []


def test_a_refusal_changes_nothing_that_serves(house: House, tmp_path: Path) -> None:
    (tmp_path / "unit").touch()
    os.utime(tmp_path / "unit", (time.time() + 60,) * 2)
    house.keep(release("chat-1"))
    before = house.slots.read_bytes()
    house.systemd.refusing = ("embed-1",)
    house.systemd.commands.clear()
    with pytest.raises(AirlockError) as caught:
        house.keep(release("chat-1", str(tmp_path / "unit")), release("embed-1"))
    assert str(caught.value) == (
        "airlock-runtime@embed-1.service refused to start: the model is not the approved one. "
        "The slots were not changed."
    )
    assert house.slots.read_bytes() == before
    assert house.systemd.active == {"airlock-runtime@chat-1.service"}
    assert not {"restart", "stop", "disable", "enable"} & set(house.systemd.verbs())


def test_a_newer_input_restarts(house: House, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.touch()
    os.utime(config, (time.time() - 60,) * 2)
    wanted = release("chat-1", str(config), str(tmp_path / "absent"))
    house.keep(wanted)
    assert house.keep(wanted).reasons == []
    os.utime(config, (time.time() + 60,) * 2)
    assert house.keep(wanted).reasons == [f"chat-1: {config} changed since it was started"]
    assert "restart" in house.systemd.verbs()


def test_a_release_that_never_gets_ready_is_given_up(house: House) -> None:
    ticks = iter(range(0, 1000, 10))

    def activating(command: list[str]) -> tuple[int, str]:
        status, output = house.systemd(command)
        return status, output.replace("ActiveState=active", "ActiveState=activating")

    switch = Switch(
        house.record,
        activating,
        slots=str(house.slots),
        group="root",
        clock=lambda: float(next(ticks)),
        sleep=lambda _s: None,
    )
    with pytest.raises(
        AirlockError, match=r"did not become ready: expected within 5 s, found activ"
    ):
        switch.keep([release("chat-1")])
    assert not house.slots.exists()


def test_clients_of_another_network_namespace_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In one namespace both ends are in the process's own table, so nobody counts as a client.
    before = releases_retire.connections(os.getpid())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            accepted, _peer = listener.accept()
            with accepted:
                assert releases_retire.connections(os.getpid()) == before
    assert releases_retire.connections(2**22 + 1) == 0


def test_a_release_is_stopped_after_its_last_client(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.keep(release("chat-1"))
    clients = iter([2, 1, 0])
    seen: list[Any] = []

    def connections(_pid: int) -> int:
        seen.append("disable" in house.systemd.verbs())
        return next(clients)

    monkeypatch.setattr(releases_retire, "connections", connections)
    house.promote(release("chat-2"))
    assert seen == [False, False, False]
    assert "airlock-runtime@chat-1.service" not in house.systemd.active


def test_a_runtime_goes_with_the_last_release_that_is_kept(house: House, tmp_path: Path) -> None:
    def place(name: str, runtime: str) -> Path:
        tree = tmp_path / runtime
        tree.mkdir(exist_ok=True)
        house.record.claim("runtime", "trees", str(tree))
        config = LaunchConfig(
            f"{name}-00000000", name, "llama_cpp", str(tree), "/model", "/socket", Flags()
        )
        (tmp_path / f"{name}-00000000.json").write_bytes(canonical.dumps(config.document()))
        return tree

    def named(name: str) -> Wanted:
        return release(f"{name}-00000000")

    first = place("chat", "first")
    house.keep(named("chat"))
    # The new release of the same service serves; the old one is its previous, and may come back.
    second = place("newer", "second")
    newer = Wanted("chat", "newer-00000000", "chat", 5)
    assert house.keep(newer).reasons == []  # wanted, and for somebody to release
    assert second.is_dir()
    house.promote(newer)
    third = place("newest", "third")
    newest = Wanted("chat", "newest-00000000", "chat", 5)
    assert not any("runs from it" in reason for reason in house.promote(newest).reasons)
    assert first.is_dir()
    # Another one, and nobody remembers the first. A release that cannot be read keeps everything.
    fourth = place("last", "fourth")
    config = tmp_path / "last-00000000.json"
    last = Wanted("chat", "last-00000000", "chat", 5)
    good = config.read_bytes()
    config.write_bytes(b"{")
    house.promote(last)
    assert first.is_dir()
    config.write_bytes(good)
    reasons = [f"{first}: no release that is kept runs from it"]
    assert house.keep(last, check=True).reasons == reasons
    assert first.is_dir()
    assert house.keep(last).reasons == reasons
    kept = {second, third, fourth}
    assert not first.exists() and all(tree.is_dir() for tree in kept)
    assert set(house.record.claims("runtime", "trees")) == {str(tree) for tree in kept}
    assert house.keep(last).reasons == []
