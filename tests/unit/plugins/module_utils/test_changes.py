# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    changes,
    changes_saved,
    managed,
    managed_specs,
)
from ansible_collections.homelab.airlock.plugins.module_utils.changes import Changes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import Plan
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
COMMANDS: dict[str, list[list[str]]] = {
    "apply": [["load", "new"]],
    "revert": [["load", "old"]],
    "revert_boot": [["at", "boot"]],
}


class Machine:
    """Stands in for systemd and nft: remembers what was run, fails what ``failing`` begins with."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failing: tuple[str, ...] = ("systemctl is-active",)
        self.table: str | None = "table inet demo {\n}\n"

    def __call__(self, command: list[str]) -> tuple[int, str]:
        line = " ".join(command)
        self.seen.append(line)
        if line.startswith(self.failing):
            return 1, "said no"
        if line.startswith("nft list table"):
            return (1, "no such table") if self.table is None else (0, self.table)
        return 0, ""


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def host(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Changes:
    units = f"{tmp_path}/etc/systemd/system/"
    for module in (changes_saved, managed):
        monkeypatch.setattr(module, "UNIT_DIRECTORY", units)
    monkeypatch.setattr(managed, "DISPLACED", str(tmp_path / "displaced"))
    monkeypatch.setattr(changes, "_HEAD_START", 0)
    (tmp_path / "var/lib/airlock/changes").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/sysinit.target.wants").mkdir(parents=True)
    return Changes(machine, str(tmp_path), str(tmp_path / "var/lib/airlock/owned.json"))


def plan(tmp_path: Path, content: bytes = b"new\n", name: str = "a", **facts: object) -> Plan:
    file = managed_specs.File(
        str(tmp_path / "etc" / "deep" / name),
        content,
        owner=OWNER,
        group=GROUP,
        **facts,  # type: ignore[arg-type]
    )
    link = managed_specs.Link(str(tmp_path / "etc" / "link"), content.decode().strip())
    return Plan("demo", files=[file], links=[link], units=["demo.service"], prune=True)


def begin(
    host: Changes, wanted: Plan, place: Callable[[], object] | None = None, timeout: int = 60
) -> str:
    return host.begin(
        "demo",
        wanted,
        timeout=timeout,
        tables=["inet demo"],
        running=["demo.service"],
        commands=COMMANDS,
        place=place or (lambda: wanted.carry_out(host.run, record_path=host.record)),  # type: ignore[arg-type]
    )


def everything(tmp_path: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return mode and content of all that lies below, but for what changes leave about themselves."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(tmp_path.rglob("*")):
        if path.is_symlink():
            found[str(path)] = (0, os.readlink(path))
        elif "changes" not in path.parts and "run" not in path.parts:
            mode = path.stat().st_mode
            found[str(path)] = (mode, path.read_bytes() if path.is_file() else b"")
    return found


def state(host: Changes, number: str) -> str:
    return host.outcome("demo", number)["state"]


@pytest.mark.parametrize("boot", [False, True])
def test_a_change_that_nobody_confirms_leaves_nothing(
    host: Changes, machine: Machine, tmp_path: Path, boot: bool
) -> None:
    before = everything(tmp_path)
    number = begin(host, plan(tmp_path))
    (tmp_path / "etc/systemd/system/sysinit.target.wants/demo.service").symlink_to("/dev/null")
    assert host.pending() == ["demo"]
    assert host.apply("demo")
    assert state(host, number) == "applied"
    assert host.revert("demo", "too late", boot=boot)
    assert everything(tmp_path) == before
    assert host.outcome("demo", number) == {"state": "reverted", "detail": "too late"}
    assert host.pending() == []
    assert ("at boot" if boot else "load old") in machine.seen
    loaded = f"nft -f {host.directory}/demo/tables.nft" in machine.seen
    assert loaded is not boot


def test_what_a_role_had_before_comes_back_with_mode_record_and_pruned_files(
    host: Changes, tmp_path: Path
) -> None:
    for wanted in (plan(tmp_path, b"old\n", "a", mode=0o640), plan(tmp_path, b"old\n", "gone")):
        Plan("demo", files=wanted.files, links=wanted.links).carry_out(
            host.run, record_path=host.record
        )
    before = everything(tmp_path)
    begin(host, plan(tmp_path))
    assert not (tmp_path / "etc/deep/gone").exists()
    host.revert("demo", "")
    assert everything(tmp_path) == before


def test_a_foreign_file_that_was_adopted_comes_back(host: Changes, tmp_path: Path) -> None:
    (tmp_path / "etc/deep").mkdir()
    (tmp_path / "etc/deep/a").write_text("theirs")
    (tmp_path / "displaced").mkdir()
    before = everything(tmp_path)
    begin(host, plan(tmp_path, adopt=True))
    assert len(list((tmp_path / "displaced").iterdir())) == 1
    host.revert("demo", "")
    assert everything(tmp_path) == before


def test_absent_is_a_change_like_any_other(host: Changes, tmp_path: Path) -> None:
    plan(tmp_path).carry_out(host.run, record_path=host.record)
    before = everything(tmp_path)
    begin(host, Plan("demo", "absent"))
    assert not (tmp_path / "etc/deep").exists()
    assert Record.load(host.record).entry("demo") == {}
    host.revert("demo", "")
    assert everything(tmp_path) == before


def test_what_is_confirmed_stays(host: Changes, machine: Machine, tmp_path: Path) -> None:
    number = begin(host, plan(tmp_path))
    assert host.confirm("demo", number)["state"] == "pending"  # not in force yet
    host.apply("demo")
    assert host.confirm("demo", "another")["state"] == "unknown"
    assert host.pending() == ["demo"]
    assert host.confirm("demo", number)["state"] == "confirmed"
    assert host.confirm("demo", number)["state"] == "confirmed"  # the first answer was lost
    assert "systemctl stop airlock-revert@demo.timer" in machine.seen
    assert not host.revert("demo", "too late")
    assert (tmp_path / "etc/deep/a").read_bytes() == b"new\n"
    assert sorted(os.listdir(f"{host.directory}/demo")) == ["outcome.json", "output"]


def test_the_marker_and_the_timer_come_before_the_first_change(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    def place() -> None:
        assert host.pending() == ["demo"]
        assert os.stat(f"{host.directory}/demo").st_mode & 0o777 == 0o700
        assert os.stat(f"{host.directory}/demo/pending.json").st_mode & 0o777 == 0o600
        assert any(
            "--on-active=60" in line and "airlock-revert@demo" in line for line in machine.seen
        )

    begin(host, plan(tmp_path), place)
    assert machine.seen[-1].endswith("changes.py apply demo")


@pytest.mark.parametrize(
    "failing", ["systemd-run --quiet --on-active", "systemd-run --quiet --col"]
)
def test_what_cannot_be_undone_is_not_begun(
    host: Changes, machine: Machine, tmp_path: Path, failing: str
) -> None:
    before = everything(tmp_path)
    machine.failing += (failing,)
    with pytest.raises(AirlockError, match="said no"):
        begin(host, plan(tmp_path))
    assert everything(tmp_path) == before
    assert host.pending() == []


def test_tables_that_nft_would_not_take_back_stop_the_change(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    machine.failing += ("nft -c -f",)
    with pytest.raises(AirlockError, match="nft -c -f"):
        begin(host, plan(tmp_path))
    assert everything(tmp_path) == before
    assert host.pending() == []


def test_a_command_that_fails_undoes_the_change(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    number = begin(host, plan(tmp_path))
    machine.failing += ("load new",)
    assert not host.apply("demo")
    assert everything(tmp_path) == before
    outcome = host.outcome("demo", number)
    assert outcome == {"state": "reverted", "detail": "'load new' failed: said no"}
    assert Path(f"{host.directory}/demo/output").read_text() == "$ load new\nsaid no"


def test_a_command_that_fails_after_the_state_is_back_is_told_and_leaves_nothing_pending(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    number = begin(host, plan(tmp_path))
    machine.failing += ("load old",)
    assert host.revert("demo", "too late")
    assert everything(tmp_path) == before
    detail = "too late; 'load old' failed: said no"
    assert host.outcome("demo", number) == {"state": "reverted", "detail": detail}
    assert host.pending() == []


def test_a_second_change_waits_for_the_first_and_undoes_one_that_was_left(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    first = begin(host, plan(tmp_path))
    machine.failing = ()  # every unit runs, the timer too
    with pytest.raises(AirlockError, match="still waits for its confirmation"):
        begin(host, plan(tmp_path, b"second\n"))
    assert state(host, first) == "pending"
    machine.failing = ("systemctl is-active",)
    second = begin(host, plan(tmp_path, b"second\n"))
    assert state(host, first) == "unknown"
    host.revert("demo", "")
    assert state(host, second) == "reverted"
    assert not (tmp_path / "etc/deep").exists()


def test_nothing_is_looked_at_while_a_change_waits(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    number = begin(host, plan(tmp_path))
    machine.failing = ()
    for change in ("demo", "other"):  # the other may be confirmed over what demo takes away
        with pytest.raises(AirlockError, match="a change of demo still waits"):
            host.settle(change, check=True)
    machine.failing = ("systemctl is-active",)
    host.settle("demo", check=True)
    assert host.pending() == ["demo"]
    host.settle("demo", check=False)
    assert state(host, number) == "reverted"


def test_a_confirmation_that_was_cut_short_holds(
    host: Changes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = begin(host, plan(tmp_path))
    assert host.apply("demo")
    with monkeypatch.context() as cut:
        cut.setattr(host, "_disarm", lambda _change: None)
        host.confirm("demo", number)
    assert host.pending() == ["demo"]
    assert not host.revert("demo", "too late")
    assert state(host, number) == "confirmed"
    assert host.pending() == []
    assert (tmp_path / "etc/deep/a").exists()


def test_a_change_whose_timer_runs_is_not_the_business_of_the_boot(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    number = begin(host, plan(tmp_path))
    machine.failing = ()
    assert not host.revert("demo", "restarted", boot=True)
    assert state(host, number) == "pending"


def test_a_marker_that_cannot_be_read_keeps_no_other_change(host: Changes, tmp_path: Path) -> None:
    begin(host, plan(tmp_path))
    os.mkdir(f"{host.directory}/broken")
    Path(f"{host.directory}/broken/pending.json").write_text("")
    assert host.pending() == ["broken", "demo"]
    with pytest.raises(AirlockError, match="not valid JSON"):
        host.revert("broken", "restarted", boot=True)
    assert host.revert("demo", "restarted", boot=True)


def test_what_expires_is_not_put_back() -> None:
    listed = """table inet airlock {
\tset window4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\tflags timeout
\t\telements = { 192.0.2.1 . tcp . 80 timeout 4s expires 3s996ms,
\t\t\t     192.0.2.2 . tcp . 80 timeout 4s expires 3s996ms }
\t}
\tset admin4 {
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 192.0.2.9 }
\t}
}
"""
    saved = changes_saved.tables_of(["inet airlock"], lambda _command: (0, listed))
    assert "192.0.2.9" in saved
    assert "expires" not in saved
    assert saved.count("{") == saved.count("}")


def test_what_cannot_be_put_back_does_not_keep_the_rest(
    host: Changes, machine: Machine, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    begin(host, plan(tmp_path))
    machine.failing += ("nft -f",)
    with pytest.raises(AirlockError, match="nft -f"):
        host.revert("demo", "")
    assert everything(tmp_path) == before
    assert "load old" in machine.seen
    assert host.pending() == ["demo"]  # the timer's service tries again


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (None, "table inet demo\ndelete table inet demo\n"),
        (
            "table inet demo {\n}\n",
            "table inet demo\ndelete table inet demo\ntable inet demo {\n}\n",
        ),
    ],
)
def test_tables_are_kept_as_one_transaction(machine: Machine, table: str | None, text: str) -> None:
    machine.table = table
    assert changes_saved.tables_of(["inet demo"], machine) == text


def test_without_baseline_nothing_is_begun(tmp_path: Path, machine: Machine) -> None:
    with pytest.raises(AirlockError, match="run the role baseline first"):
        begin(Changes(machine, str(tmp_path)), plan(tmp_path))
    assert machine.seen == []
