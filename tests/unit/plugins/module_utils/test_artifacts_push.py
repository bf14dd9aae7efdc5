# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_push as pushes
from ansible_collections.homelab.airlock.plugins.module_utils import custody
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import Book, Moment

ROLE = "model_store"


NO_BOOK = Book("/nonexistent")


def push_of(data: bytes, path: Path, **options: Any) -> pushes.Push:
    return pushes.Push(Content(hashlib.sha256(data).hexdigest(), len(data)), str(path), **options)


def send(push: pushes.Push, data: bytes, record: Record, book: Book = NO_BOOK) -> None:
    """Do what the action does: stage, upload, place."""
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, record)
    Path(staging, push.content.object_name).write_bytes(data)
    try:
        pushes.place(push, staging, ROLE, record, book)
    finally:
        pushes.discard(staging)


def test_a_file_is_staged_placed_claimed_and_then_proven(tmp_path: Path) -> None:
    record = Record()
    push = push_of(b"weights", tmp_path / "store" / "sha256-x")
    assert [reason for _push, reason in pushes.lacking([push], ROLE, record, NO_BOOK)] == [
        "it is not there"
    ]
    send(push, b"weights", record)
    assert pushes.lacking([push], ROLE, record, NO_BOOK) == []
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
    assert pushes.lacking([push], ROLE, record, NO_BOOK) == []
    assert pushes.lacking([push], ROLE, Record(), NO_BOOK) != []  # nobody remembers the receipt
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
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, Record())
    Path(staging, push.content.object_name).symlink_to(tmp_path / "shadow")
    with pytest.raises(OSError, match="symbolic links"):
        pushes.place(push, staging, ROLE, Record(), NO_BOOK)
    assert not (tmp_path / "sha256-x").exists()


def test_what_was_held_open_before_does_not_become_the_artifact(tmp_path: Path) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, Record())
    with Path(staging, push.content.object_name).open("wb") as writer:
        writer.write(b"weights")
        writer.flush()
        pushes.place(push, staging, ROLE, Record(), NO_BOOK)
        writer.seek(0)
        writer.write(b"WEIGHTS")
    assert (tmp_path / "sha256-x").read_bytes() == b"weights"


def _second_name(path: Path) -> None:
    os.link(path, path.with_name("other"))


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (lambda path: path.chmod(0o644), "mode 0644"),
        (_second_name, "found 2 names for it"),
        (
            lambda path: (path.unlink(), path.write_bytes(b"WEIGHTS"), path.chmod(0o444)),
            f"found sha256 {hashlib.sha256(b'WEIGHTS').hexdigest()}",
        ),
    ],
)
def test_what_was_changed_is_lacking(tmp_path: Path, attack: object, reason: str) -> None:
    record = Record()
    push = push_of(b"weights", tmp_path / "sha256-x")
    send(push, b"weights", record)
    attack(Path(push.path))  # type: ignore[operator]
    ((_push, why),) = pushes.lacking([push], ROLE, record, NO_BOOK)
    assert why.endswith(reason)
    proven = push_of(b"weights", tmp_path / "sha256-x", proven=True)
    assert pushes.lacking([proven], ROLE, record, NO_BOOK) == []


def test_a_broken_upload_is_gone_on_with_and_everything_else_left_over_is_removed(
    tmp_path: Path,
) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    first, _have = pushes.stage([push], os.geteuid(), ROLE, Record())
    name = push.content.object_name
    Path(first, name).write_bytes(b"wei")
    Path(first, "other").write_bytes(b"x")
    Path(first, "folder").mkdir()
    for stray in (".incoming-open", ".ingest-1"):
        (tmp_path / stray).mkdir()
    again, have = pushes.stage([push], os.geteuid(), ROLE, Record())
    assert (again, have) == (first, {name: 3})
    assert os.listdir(again) == [name]
    assert os.listdir(tmp_path) == [os.path.basename(first)]
    Path(first, name).write_bytes(b"weightsss")
    assert pushes.stage([push], os.geteuid(), ROLE, Record()) == (first, {})


def test_what_was_resumed_is_checked_as_a_whole(tmp_path: Path) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, Record())
    Path(staging, push.content.object_name).write_bytes(b"WEIghts")
    with pytest.raises(AirlockError, match="not the one that the catalog approves"):
        pushes.place(push, staging, ROLE, Record(), NO_BOOK)
    assert not (tmp_path / "sha256-x").exists()


def test_an_upload_directory_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    push = push_of(b"weights", tmp_path / "sha256-x")
    (tmp_path / ".incoming-open").mkdir(mode=0o755)
    (tmp_path / ".incoming-link").symlink_to(tmp_path)
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, Record())
    assert os.listdir(tmp_path) == [os.path.basename(staging)]
    assert Path(staging).stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    content = Content("a" * 64, free.f_blocks * free.f_frsize)
    huge = pushes.Push(content, str(tmp_path / "sha256-x"))
    with pytest.raises(AirlockError, match="the disk is too full"):
        pushes.stage([huge], os.geteuid(), ROLE, Record())
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pushes, "copy_verified", full)
    push = push_of(b"weights", tmp_path / "sha256-x")
    with pytest.raises(
        AirlockError, match=r"the disk is full: expected 7 B for sha256-.*make room"
    ):
        send(push, b"weights", Record())
    assert os.listdir(tmp_path) == []


def test_a_file_of_a_model_gets_its_receipt_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "make_immutable", lambda _descriptor: False)
    (tmp_path / "receipts").mkdir(mode=0o700)
    book = Book(str(tmp_path / "receipts"))
    push = push_of(b"weights", tmp_path / "store" / "sha256-x", manifest="a" * 64)
    send(push, b"weights", Record(), book)
    finding = custody.prove(push.subject, book, Moment.now())
    assert (finding.state, finding.level, finding.read) == ("ok", custody.RECEIPT, 0)
    assert os.listdir(tmp_path / "store") == ["sha256-x"]


def test_what_a_power_cut_leaves_in_the_place_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, kept = Record(), [b""]

    def cut(_path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pushes, "fsync_directory", cut)
    push = push_of(b"weights", tmp_path / "sha256-x")
    staging, _have = pushes.stage([push], os.geteuid(), ROLE, record)
    Path(staging, push.content.object_name).write_bytes(b"weights")
    with pytest.raises(KeyboardInterrupt):
        pushes.place(push, staging, ROLE, record, NO_BOOK, lambda: kept.append(record.to_bytes()))
    assert Path(push.path).exists()
    assert push.path.encode() in kept[-1]


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
