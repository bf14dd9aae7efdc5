# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_push as pushes
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record

ROLE = "model_store"


def push_of(data: bytes, path: Path, **options: bool) -> pushes.Push:
    return pushes.Push(Content(hashlib.sha256(data).hexdigest(), len(data)), str(path), **options)


def send(push: pushes.Push, data: bytes, record: Record) -> None:
    """Do what the action does: stage, upload, place."""
    staging = pushes.stage([push], os.geteuid(), ROLE, record)
    Path(staging, push.content.object_name).write_bytes(data)
    try:
        pushes.place(push, staging, ROLE, record)
    finally:
        pushes.discard(staging)


def test_a_file_is_staged_placed_claimed_and_then_proven(tmp_path: Path) -> None:
    record = Record()
    push = push_of(b"weights", tmp_path / "store" / "sha256-x")
    assert [reason for _push, reason in pushes.lacking([push], ROLE, record)] == ["it is not there"]
    send(push, b"weights", record)
    assert pushes.lacking([push], ROLE, record) == []
    assert (tmp_path / "store" / "sha256-x").stat().st_mode & 0o777 == 0o444
    assert record.claims(ROLE, "files") == {push.path: {"sha256": push.content.sha256}}
    assert str(tmp_path / "store") in record.claims(ROLE, "directories")
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["sha256-x"]


def test_a_wheel_becomes_a_tree(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("pkg/a.py", b"1")
    data = (tmp_path / "w").read_bytes()
    record = Record()
    push = push_of(data, tmp_path / "runtimes" / "x", wheel=True)
    send(push, data, record)
    assert pushes.lacking([push], ROLE, record) == []
    assert pushes.lacking([push], ROLE, Record()) != []  # nobody remembers the receipt
    assert list(record.claims(ROLE, "trees")) == [push.path]
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == ["x"]


def test_a_wrong_upload_leaves_the_place_as_it_was(tmp_path: Path) -> None:
    record = Record()
    place = tmp_path / "sha256-x"
    place.write_bytes(b"old")
    with pytest.raises(AirlockError, match="not the one that the catalog approves"):
        send(push_of(b"weights", place), b"WEIGHTS", record)
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]
    assert record.claims(ROLE, "files") == {}


def test_an_upload_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_bytes(b"weights")
    push = push_of(b"weights", tmp_path / "sha256-x")
    staging = pushes.stage([push], os.geteuid(), ROLE, Record())
    Path(staging, push.content.object_name).symlink_to(tmp_path / "shadow")
    with pytest.raises(OSError, match="symbolic links"):
        pushes.place(push, staging, ROLE, Record())
    assert not (tmp_path / "sha256-x").exists()


def test_what_was_held_open_before_does_not_become_the_artifact(tmp_path: Path) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    staging = pushes.stage([push], os.geteuid(), ROLE, Record())
    with Path(staging, push.content.object_name).open("wb") as writer:
        writer.write(b"weights")
        writer.flush()
        pushes.place(push, staging, ROLE, Record())
        writer.seek(0)
        writer.write(b"WEIGHTS")
    assert (tmp_path / "sha256-x").read_bytes() == b"weights"


def _second_name(path: Path) -> None:
    os.link(path, path.with_name("other"))


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (lambda path: path.chmod(0o644), "its owner or mode differ from root and 0444"),
        (_second_name, "it is not a regular file of its own"),
        (
            lambda path: (path.unlink(), path.write_bytes(b"WEIGHTS"), path.chmod(0o444)),
            "its content is another",
        ),
    ],
)
def test_what_was_changed_is_lacking(tmp_path: Path, attack: object, reason: str) -> None:
    record = Record()
    push = push_of(b"weights", tmp_path / "sha256-x")
    send(push, b"weights", record)
    attack(Path(push.path))  # type: ignore[operator]
    assert [why for _push, why in pushes.lacking([push], ROLE, record)] == [reason]
    proven = push_of(b"weights", tmp_path / "sha256-x", proven=True)
    assert pushes.lacking([proven], ROLE, record) == []


def test_leftovers_are_removed_and_a_full_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    stale = pushes.stage([push], os.geteuid(), ROLE, Record())
    fresh = pushes.stage([push], os.geteuid(), ROLE, Record())
    assert not os.path.exists(stale)
    assert Path(fresh).stat().st_mode & 0o777 == 0o700
    free = os.statvfs(tmp_path)
    huge = pushes.Push(Content("a" * 64, free.f_blocks * free.f_frsize), push.path)
    with pytest.raises(AirlockError, match="the disk is too full"):
        pushes.stage([huge], os.geteuid(), ROLE, Record())


def test_only_artifacts_of_the_role_are_surplus(tmp_path: Path) -> None:
    record = Record()
    old, new = (push_of(data, tmp_path / data.decode()) for data in (b"old", b"new"))
    for push in (old, new):
        send(push, push.path.rpartition("/")[2].encode(), record)
    record.claim(ROLE, "files", "/elsewhere/file")
    (tmp_path / "foreign").touch()
    assert pushes.surplus([new], str(tmp_path), ROLE, record) == [old.path]
    pushes.remove(old.path, ROLE, record)
    assert not Path(old.path).exists()
    assert pushes.surplus([new], str(tmp_path), ROLE, record) == []
