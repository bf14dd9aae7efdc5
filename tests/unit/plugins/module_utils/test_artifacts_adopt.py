# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    artifacts_adopt,
    artifacts_push,
    custody,
)
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import Book, Moment
from ansible_collections.homelab.airlock.tests.corpus import hub as layouts

GOOD = Content(layouts.sha256(layouts.TINY), len(layouts.TINY))


ioctl = fcntl.ioctl


def share_blocks(target: int, request: int, source: Any, *more: Any) -> Any:
    """What a file system that shares blocks answers with, but for the sharing."""
    if request != artifacts_adopt._FICLONE:
        return ioctl(target, request, source, *more)
    with open(source, "rb", closefd=False) as old, open(target, "wb", closefd=False) as new:
        shutil.copyfileobj(old, new)
    return 0


@pytest.fixture(autouse=True)
def unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no file that the directory of the tests cannot be cleaned of."""
    monkeypatch.setattr(custody, "make_immutable", lambda _descriptor: False)


@pytest.fixture(params=["shared", "copied"])
def blob(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a blob of Ollama's, on a file system that shares blocks and on one that does not."""
    if request.param == "shared":
        monkeypatch.setattr(artifacts_adopt.fcntl, "ioctl", share_blocks)
    path = tmp_path / "blob"
    path.write_bytes(layouts.TINY)
    path.chmod(0o644)
    return path


def push_of(blob: Path, **changes: Any) -> artifacts_push.Push:
    settings = {"found_at": str(blob), "model_file": "m.gguf", "manifest": "a" * 64, **changes}
    return artifacts_push.Push(GOOD, str(blob.parent / "store" / GOOD.object_name), **settings)


def book_of(blob: Path) -> Book:
    path = blob.parent / "receipts"
    path.mkdir(mode=0o700, exist_ok=True)
    return Book(str(path))


def test_what_the_host_has_is_copied_and_then_proven(blob: Path) -> None:
    record, push, book = Record(), push_of(blob), book_of(blob)
    artifacts_push.adopt(push, "model_store", record, book)
    placed = os.stat(push.path)
    assert (placed.st_mode & 0o777, placed.st_nlink) == (0o444, 1)
    assert placed.st_ino != blob.stat().st_ino
    assert artifacts_push.lacking([push], "model_store", record, book) == []
    proof = custody.prove(push.subject, book, Moment.now())
    assert (proof.state, proof.read) == (custody.OK, 0)
    assert blob.read_bytes() == layouts.TINY and blob.stat().st_mode & 0o777 == 0o644


def test_another_content_leaves_nothing(blob: Path) -> None:
    blob.write_bytes(b"Z" * GOOD.size)
    with pytest.raises(
        AirlockError, match=r"is not the one that the catalog approves.*let its own"
    ):
        artifacts_push.adopt(push_of(blob), "model_store", Record(), book_of(blob))
    assert list((blob.parent / "store").iterdir()) == []


def test_another_format_leaves_nothing(blob: Path) -> None:
    with pytest.raises(AirlockError, match="the name is not what the content is"):
        artifacts_push.adopt(
            push_of(blob, model_file="config.json"), "model_store", Record(), book_of(blob)
        )
    assert list((blob.parent / "store").iterdir()) == []


def test_a_link_and_nothing_at_all_are_refused(blob: Path) -> None:
    link = blob.parent / "link"
    link.symlink_to(blob)
    with pytest.raises(AirlockError, match=r"cannot be taken .*symbolic links"):
        artifacts_push.adopt(push_of(link), "model_store", Record(), book_of(blob))
    with pytest.raises(AirlockError, match=r"No such file.*let Ollama pull the model there"):
        artifacts_push.adopt(push_of(blob.parent / "gone"), "model_store", Record(), book_of(blob))
    with pytest.raises(AirlockError, match="this is not a regular file"):
        artifacts_push.adopt(push_of(blob.parent), "model_store", Record(), book_of(blob))
