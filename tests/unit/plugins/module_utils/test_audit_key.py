# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import audit_key, audit_segments
from ansible_collections.homelab.airlock.plugins.module_utils.audit_key import Held
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

FIRST = Held("0123456789abcdef", 1, b"1" * 32)
NEXT = Held("0123456789abcdef", 9, b"9" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    audit_key.begin(str(tmp_path / "key"), FIRST)
    return tmp_path / "key"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDWR)
    yield number
    os.close(number)


def test_what_was_saved_is_loaded(path: Path, descriptor: int) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert audit_key.load(descriptor) == FIRST
    audit_key.save(descriptor, NEXT)
    assert audit_key.load(descriptor) == NEXT


def test_an_older_key_is_nowhere_in_the_file(path: Path, descriptor: int) -> None:
    audit_key.save(descriptor, NEXT)
    assert FIRST.key not in path.read_bytes()
    assert path.stat().st_size == 1024


@pytest.mark.parametrize("slot", [0, 1])
def test_a_power_cut_while_saving_leaves_one_slot(path: Path, descriptor: int, slot: int) -> None:
    audit_key.save(descriptor, NEXT)
    os.pwrite(descriptor, b"\xff" * 100, 512 * slot)
    assert audit_key.load(descriptor) == NEXT


def test_a_file_without_a_key_is_refused(path: Path, descriptor: int) -> None:
    os.pwrite(descriptor, b"\0" * 1024, 0)
    with pytest.raises(AirlockError, match="not the key of an audit trail"):
        audit_key.load(descriptor, str(path))


def test_a_trail_is_begun_once(path: Path) -> None:
    with pytest.raises(FileExistsError):
        audit_key.begin(str(path), FIRST)


def test_segments_are_read_in_order_and_within_a_budget(tmp_path: Path) -> None:
    for first, content in ((1, b"one\n"), (5, b"two\n"), (9, b"three\n")):
        (tmp_path / audit_segments.closed_name(first)).write_bytes(content)
    (tmp_path / "audit.jsonl").write_bytes(b"live\n")
    (tmp_path / "audit-5.jsonl").write_bytes(b"not a segment\n")
    everything = [(1, b"one\n"), (5, b"two\n"), (9, b"three\n"), (0, b"live\n")]
    assert audit_segments.read_after(str(tmp_path), 0, 100) == (everything, True)
    assert audit_segments.read_after(str(tmp_path), 0, 8) == (everything[:2], False)
    assert audit_segments.read_after(str(tmp_path), 5, 8) == (everything[2:], True)


def test_a_trail_that_was_just_begun_has_nothing(tmp_path: Path) -> None:
    assert audit_segments.read_after(str(tmp_path), 0, 8) == ([(0, b"")], True)
