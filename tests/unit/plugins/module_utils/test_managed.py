# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import managed, managed_specs
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import Plan
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


class Commands:
    """Stands in for run_command; remembers what was run and answers with ``status``."""

    def __init__(self, status: int = 0) -> None:
        self.seen: list[list[str]] = []
        self.status = status

    def __call__(self, command: list[str]) -> tuple[int, str]:
        self.seen.append(command)
        return self.status, "said no" if self.status else ""


def file(path: Path, content: bytes = b"new\n", **facts: object) -> managed_specs.File:
    return managed_specs.File(str(path), content, owner=OWNER, group=GROUP, **facts)  # type: ignore[arg-type]


def manager(record: Record, *, check: bool = False, status: int = 0) -> managed.Manager:
    return managed.Manager("demo", record, Commands(status), check=check)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    record = Record()
    entry = file(tmp_path / "deep" / "a", mode=0o640)
    assert manager(record, check=True).present(files=[entry]).changed_paths == [entry.path]
    assert not Path(entry.path).exists()
    assert manager(record).present(files=[entry]).changed_paths == [entry.path]
    assert Path(entry.path).stat().st_mode & 0o777 == 0o640
    assert manager(record).present(files=[entry]).changed_paths == []


def test_absent_leaves_what_was_there_before(tmp_path: Path) -> None:
    record = Record()
    (tmp_path / "kept").write_text("mine")
    manager(record).present(
        [managed_specs.Directory(str(tmp_path / "d"), owner=OWNER, group=GROUP)],
        [file(tmp_path / "d" / "a"), file(tmp_path / "b")],
        [managed_specs.Link(str(tmp_path / "l"), "/dev/null")],
    )
    before = record.to_bytes()
    assert manager(record, check=True).absent().changed_paths
    assert record.to_bytes() == before
    manager(record).absent()
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert record.to_bytes() == Record().to_bytes()


def test_what_is_about_to_be_made_has_its_owner_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, seen = str(tmp_path / "owned.json"), []
    write = managed.write_atomic

    def cut(path: str, *values: Any, **options: Any) -> None:
        seen.append(Record.load(record).owner_of("files", path))
        write(path, *values, **options)

    monkeypatch.setattr(managed, "write_atomic", cut)
    entry = file(tmp_path / "deep" / "a")
    for _run in range(2):
        Plan("demo", files=[entry]).carry_out(lambda _command: (0, ""), record_path=record)
    assert seen == ["demo"]
    assert Record.load(record).claims("demo", "files")[entry.path]["sha256"]


def test_a_foreign_file_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    record = Record()
    (tmp_path / "b").write_text("mine")
    with pytest.raises(AirlockError, match="did not write"):
        manager(record).present(files=[file(tmp_path / "a"), file(tmp_path / "b")])
    assert sorted(os.listdir(tmp_path)) == ["b"]


def test_an_adopted_file_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "DISPLACED", str(tmp_path / "displaced"))
    record = Record()
    mine = tmp_path / "a"
    mine.write_text("mine")
    manager(record).present(files=[file(mine, adopt=True)])
    assert mine.read_text() == "new\n"
    manager(record).present(files=[file(mine, b"newer\n", adopt=True)])
    manager(record).absent()
    assert mine.read_text() == "mine"


def test_a_refused_content_leaves_the_old_file(tmp_path: Path) -> None:
    record = Record()
    entry = file(tmp_path / "a")
    manager(record).present(files=[entry])
    with pytest.raises(AirlockError, match="said no"):
        manager(record, status=1).present(
            files=[file(tmp_path / "a", b"bad\n", validate="check %s")]
        )
    assert (tmp_path / "a").read_text() == "new\n"
    assert os.listdir(tmp_path) == ["a"]


def test_a_change_by_hand_is_named(tmp_path: Path) -> None:
    record = Record()
    manager(record).present(files=[file(tmp_path / "a")])
    (tmp_path / "a").write_text("tampered")
    outcome = manager(record).present(files=[file(tmp_path / "a")])
    assert "changed by hand" in outcome.reasons[0]


def test_a_secret_is_in_no_diff_and_no_record(tmp_path: Path) -> None:
    record = Record()
    outcome = manager(record).present(files=[file(tmp_path / "a", b"hunter2", secret=True)])
    assert "hunter2" not in str(outcome.diffs)
    assert b"sha256" not in record.to_bytes()


def test_what_the_role_no_longer_names_is_pruned(tmp_path: Path) -> None:
    record = Record()
    manager(record).present(files=[file(tmp_path / "a"), file(tmp_path / "b")])
    manager(record).present(files=[file(tmp_path / "a")], prune=True)
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    record = Record()
    (tmp_path / "victim").write_text("mine")
    manager(record).present(files=[file(tmp_path / "a")])
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    manager(record).present(files=[file(tmp_path / "a")])
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "a").is_symlink()


def test_accounts_are_made_once_and_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "SYSUSERS_DIRECTORY", str(tmp_path))
    record = Record()
    content = b"# ours\nu demo-zz 866 - /\nm demo-zz root\nu root 0 - /\n"
    worker = manager(record)
    outcome = worker.present(files=[file(tmp_path / "demo.conf", content)])
    assert worker.run.seen == [["systemd-sysusers", str(tmp_path / "demo.conf")]]  # type: ignore[attr-defined]
    assert "demo-zz: the account is missing" in outcome.reasons
    assert (
        set(record.claims("demo", "users")) == set(record.claims("demo", "groups")) == {"demo-zz"}
    )


def test_a_unit_file_reloads_systemd_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "UNIT_DIRECTORY", str(tmp_path))
    record = Record()
    for expected in (True, False):
        worker = manager(record)
        outcome = worker.present(files=[file(tmp_path / "a.service")])
        assert outcome.daemon_reload is expected
        assert (["systemctl", "daemon-reload"] in worker.run.seen) is expected  # type: ignore[attr-defined]
