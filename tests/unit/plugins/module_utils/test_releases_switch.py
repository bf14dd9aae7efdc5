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

    def apply(self, *wanted: Wanted, check: bool = False) -> releases_switch.Outcome:
        switch = Switch(
            self.record,
            self.systemd,
            check=check,
            slots=str(self.slots),
            group="root",
            sleep=lambda _s: None,
        )
        return switch.apply(list(wanted))


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
    assert house.apply(release("chat-1"), check=True).reasons == [
        "chat-1: it does not run",
        "chat-1: it does not start at boot",
        f"{house.slots}: it points elsewhere or is missing",
    ]
    assert not house.slots.exists()
    outcome = house.apply(release("chat-1"))
    assert outcome.after["chat"]["current"] == "chat-1"
    assert releases_slots.load(str(house.slots)) == outcome.after
    assert house.slots.stat().st_mode & 0o777 == 0o640
    assert list(house.record.claims("runtime", "units")) == ["airlock-runtime@chat-1.service"]
    assert house.apply(release("chat-1")).reasons == []
    assert house.apply(release("chat-1"), check=True).reasons == []


def test_a_replaced_release_stops_but_keeps_its_files(house: House, tmp_path: Path) -> None:
    house.apply(release("chat-1"), release("embed-1"))
    for name in ("chat-1", "embed-1"):
        (tmp_path / f"{name}.json").touch()
        house.record.claim("runtime", "files", str(tmp_path / f"{name}.json"))
    outcome = house.apply(release("chat-2"))
    assert outcome.reasons[-3:] == [
        "chat-1: no service needs it to run",
        "embed-1: no service needs it to run",
        "embed-1: no slot remembers it",
    ]
    assert house.systemd.active == house.systemd.enabled == {"airlock-runtime@chat-2.service"}
    assert (tmp_path / "chat-1.json").exists()
    assert not (tmp_path / "embed-1.json").exists()
    assert str(tmp_path / "embed-1.json") not in house.record.claims("runtime", "files")
    assert "airlock-runtime@chat-1.service" in house.record.claims("runtime", "units")
    house.apply(release("chat-3"))
    assert not (tmp_path / "chat-1.json").exists()
    assert house.apply(release("chat-3")).reasons == []


def test_a_refusal_changes_nothing_that_serves(house: House, tmp_path: Path) -> None:
    (tmp_path / "unit").touch()
    os.utime(tmp_path / "unit", (time.time() + 60,) * 2)
    house.apply(release("chat-1"))
    before = house.slots.read_bytes()
    house.systemd.refusing = ("embed-1",)
    house.systemd.commands.clear()
    with pytest.raises(AirlockError) as caught:
        house.apply(release("chat-1", str(tmp_path / "unit")), release("embed-1"))
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
    house.apply(wanted)
    assert house.apply(wanted).reasons == []
    os.utime(config, (time.time() + 60,) * 2)
    assert house.apply(wanted).reasons == [f"chat-1: {config} changed since it was started"]
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
        switch.apply([release("chat-1")])
    assert not house.slots.exists()


def test_clients_of_another_network_namespace_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In one namespace both ends are in the process's own table, so nobody counts as a client.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            accepted, _peer = listener.accept()
            with accepted:
                assert releases_retire.connections(os.getpid()) == 0
    assert releases_retire.connections(2**22 + 1) == 0


def test_a_release_is_stopped_after_its_last_client(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.apply(release("chat-1"))
    clients = iter([2, 1, 0])
    seen: list[Any] = []

    def connections(_pid: int) -> int:
        seen.append("disable" in house.systemd.verbs())
        return next(clients)

    monkeypatch.setattr(releases_retire, "connections", connections)
    house.apply(release("chat-2"))
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
    house.apply(named("chat"))
    # The new release of the same service serves; the old one is its previous, and may come back.
    second = place("newer", "second")
    newer = Wanted("chat", "newer-00000000", "chat", 5)
    assert not any("runs from it" in reason for reason in house.apply(newer).reasons)
    assert first.is_dir()
    # Another one, and nobody remembers the first. A release that cannot be read keeps everything.
    third = place("newest", "third")
    config = tmp_path / "newest-00000000.json"
    newest = Wanted("chat", "newest-00000000", "chat", 5)
    good = config.read_bytes()
    config.write_bytes(b"{")
    house.apply(newest)
    assert first.is_dir()
    config.write_bytes(good)
    reasons = [f"{first}: no release that is kept runs from it"]
    assert house.apply(newest, check=True).reasons == reasons
    assert first.is_dir()
    assert house.apply(newest).reasons == reasons
    assert (first.exists(), second.is_dir(), third.is_dir()) == (False, True, True)
    assert set(house.record.claims("runtime", "trees")) == {str(second), str(third)}
    assert house.apply(newest).reasons == []
