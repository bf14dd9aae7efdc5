# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has changed and did not bring into force is made up for by the next one, wherever it ended."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import managed
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import Plan
from ansible_collections.homelab.airlock.plugins.module_utils.managed_specs import (
    Directory,
    File,
    Link,
    Outcome,
)
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
KILLED = 137
# What changes a disk, and with that the moments between which a run can end.
STEPS = ("replace", "mkdir", "symlink", "unlink", "chmod", "rmdir")


class Host:
    """A host with a role of two units, a configuration and a link; ``ran`` are the commands of the last run."""

    def __init__(self, base: Path):
        self.base = base
        self.record = str(base / "state/owned.json")
        self.log = base / "commands"
        (base / "units").mkdir()

    def path(self, name: str) -> str:
        return str(self.base / name)

    def plan(self, content: bytes = b"1", names: tuple[str, ...] = ("a", "b"), **more: Any) -> Plan:
        paths = [self.path(f"units/{name}.service") for name in names] + [self.path("etc/c")]
        return Plan(
            "demo",
            directories=[Directory(self.path("d"), owner=OWNER, group=GROUP)],
            files=[File(path, content, owner=OWNER, group=GROUP) for path in paths],
            links=[Link(self.path("l"), content.decode())],
            prune=True,
            **more,
        )

    def run(self, plan: Plan, *, check: bool = False) -> Outcome:
        self.log.write_text("")
        return plan.carry_out(self._command, check=check, record_path=self.record)

    def killed(self, plan: Plan, step: int) -> bool:
        """Carry ``plan`` out in a process that is killed before its ``step``-th change; was it?"""
        child = os.fork()
        if not child:
            self._count(step)
            self.run(plan)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED

    def state(self) -> dict[str, Any]:
        """What is on the disk, temporary files apart."""
        return {
            str(path): os.readlink(path)
            if path.is_symlink()
            else path.is_dir() or path.read_bytes()
            for path in self.base.rglob("*")
            if path.suffix != ".json" and path != self.log and not path.name.startswith(".")
        }

    def pending(self) -> list[str]:
        return sorted(Record.load(self.record).claims("demo", "pending"))

    @property
    def ran(self) -> list[str]:
        return self.log.read_text().splitlines()

    def _command(self, command: list[str]) -> tuple[int, str]:
        with self.log.open("a") as log:
            log.write(" ".join(command) + "\n")
        return 0, ""

    def _count(self, step: int) -> None:
        left = [step]

        def counted(act: Callable[..., Any]) -> Callable[..., Any]:
            def acting(*values: Any, **options: Any) -> Any:
                if not left[0]:
                    os._exit(KILLED)
                left[0] -= 1
                return act(*values, **options)

            return acting

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        self._command = counted(self._command)  # type: ignore[method-assign]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(managed, "UNIT_DIRECTORY", str(tmp_path / "units"))
    return Host(tmp_path)


def settled(host: Host, plan: Plan) -> None:
    """A later run finds nothing to do, and nothing is pending."""
    outcome = host.run(plan)
    assert (outcome.changed_paths, outcome.reasons, host.ran) == ([], [], [])
    assert host.pending() == []


def test_what_changed_is_told_again_until_it_is_in_force(host: Host) -> None:
    host.run(host.plan())
    again = host.plan(b"2", follow_up=True)
    changed = sorted(host.run(again).changed_paths)
    assert changed == sorted(map(host.path, ["units/a.service", "units/b.service", "etc/c", "l"]))
    for check in (True, False, False):
        outcome = host.run(again, check=check)
        assert sorted(outcome.changed_paths) == outcome.pending == changed
        assert outcome.diffs == []
        assert all("ended before this was in force" in reason for reason in outcome.reasons)
    host.run(Plan("demo", in_force=changed), check=True)
    assert host.pending() == changed
    assert host.run(Plan("demo", in_force=changed)).changed_paths == []
    settled(host, again)


def test_only_what_is_named_is_in_force(host: Host) -> None:
    plan = host.plan(follow_up=True)
    changed = host.run(plan).changed_paths
    unit = host.path("units/a.service")
    host.run(Plan("demo", in_force=[path for path in changed if path != unit]))
    assert host.run(plan).changed_paths == [unit]
    other = Plan("demo", files=[entry for entry in plan.files if entry.path != unit])
    assert host.run(other).changed_paths == []  # which does not speak of the unit
    assert host.pending() == [unit]


@pytest.mark.parametrize("follow_up", [True, False])
def test_a_run_that_is_killed_anywhere_is_made_up_for(host: Host, follow_up: bool) -> None:
    host.run(host.plan(b"0", names=("a", "old")))
    for step in range(100):
        names = ("a", "old" if step % 2 else "b")  # one comes, one goes
        plan = host.plan(b"%d" % (step + 1), names, follow_up=follow_up)
        before = host.state()
        host.log.write_text("")
        was_killed, now = host.killed(plan, step), host.state()
        touched = {path for path in before | now if before.get(path) != now.get(path)}
        reloaded = "systemctl daemon-reload" in host.ran
        outcome = host.run(plan)
        if was_killed or follow_up:
            assert touched <= set(outcome.changed_paths)
        units = {path for path in touched if path.startswith(host.path("units/"))}
        assert reloaded or not units or "systemctl daemon-reload" in host.ran, step
        host.run(Plan("demo", in_force=outcome.changed_paths))
        settled(host, plan)
        if not was_killed:
            assert step > 10
            return
    raise AssertionError("no run came to its end")


def test_a_refused_file_leaves_those_before_it_pending(host: Host) -> None:
    host.run(host.plan())
    bad = File(host.path("etc/bad"), b"x", owner=OWNER, group=GROUP, validate="check %s")
    good = host.plan(b"2")
    refusing = Plan("demo", files=[*good.files, bad])
    with pytest.raises(AirlockError, match="refused"):
        refusing.carry_out(lambda _command: (1, "no"), record_path=host.record)
    outcome = host.run(good)
    assert host.path("units/a.service") in outcome.pending
    assert outcome.daemon_reload
    settled(host, good)


def test_absent_forgets_what_was_pending(host: Host) -> None:
    host.run(host.plan(follow_up=True))
    assert host.run(Plan("demo", state="absent")).changed_paths
    assert not os.path.exists(host.record)
    assert host.run(Plan("demo", state="absent")).changed_paths == []


def test_a_removal_may_have_to_be_put_in_force_too(host: Host) -> None:
    host.run(host.plan())
    gone = Plan("demo", state="absent", follow_up=True)
    changed = host.run(gone).changed_paths
    for check in (True, False):
        outcome = host.run(gone, check=check)
        assert outcome.pending == outcome.changed_paths == host.pending() != []
    host.run(Plan("demo", in_force=changed))
    assert not os.path.exists(host.record)
