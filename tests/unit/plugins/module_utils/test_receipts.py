# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import receipts
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import (
    Book,
    Identity,
    Moment,
    Receipt,
)

SEEN = Identity(1, 2, 0o100444, 0, 1, 7, 10, 20, 0x10)
NOW = Moment("boot", 1_000_000)
RECEIPT = Receipt("/store/x", "a" * 64, "b" * 64, "c" * 64, "", 2, SEEN, NOW)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    (tmp_path / "receipts").mkdir(mode=0o700)
    return Book(str(tmp_path / "receipts"))


@pytest.mark.parametrize(
    ("seen", "now", "reason"),
    [
        (SEEN, NOW, ""),
        (SEEN, replace(NOW, when=NOW.when + receipts.MAX_AGE_S), ""),
        (replace(SEEN, ctime_ns=21, mtime_ns=11), NOW, "its mtime_ns, ctime_ns changed"),
        (replace(SEEN, ino=3), NOW, "its ino changed"),
        (replace(SEEN, flags=0), NOW, "its flags changed"),
        (SEEN, replace(NOW, boot_id="next"), "the host was started since"),
        (SEEN, replace(NOW, when=NOW.when - 1), "the clock went back"),
        (
            SEEN,
            replace(NOW, when=NOW.when + receipts.MAX_AGE_S + 1),
            "it was last proven more than 7 days ago",
        ),
    ],
)
def test_what_makes_a_receipt_stale(seen: Identity, now: Moment, reason: str) -> None:
    assert receipts.stale(RECEIPT, seen, now) == reason


def test_a_receipt_comes_back_as_it_was_and_only_for_its_own(book: Book) -> None:
    book.write(RECEIPT)
    again = Book(book.directory)
    assert again.read("/store/x", "a" * 64) == RECEIPT
    assert again.read("/store/y", "a" * 64) is None
    assert again.read("/store/x", "d" * 64) is None
    assert {os.stat(path).st_mode & 0o777 for path in Path(book.directory).iterdir()} == {0o600}


def test_a_receipt_for_another_place_is_none(book: Book) -> None:
    book.write(RECEIPT)
    (path,) = Path(book.directory).glob("*.receipt")
    book.write(replace(RECEIPT, path="/store/y"))
    (other,) = set(Path(book.directory).glob("*.receipt")) - {path}
    path.replace(other)
    assert book.read("/store/y", "a" * 64) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"{}\n" + b"0" * 64, b"\xff\n\xff"])
def test_a_receipt_without_the_right_code_is_none(book: Book, damage: bytes) -> None:
    book.write(RECEIPT)
    (path,) = Path(book.directory).glob("*.receipt")
    path.write_bytes(damage)
    assert book.read("/store/x", "a" * 64) is None


def test_a_key_that_others_may_read_speaks_for_nothing(book: Book) -> None:
    book.write(RECEIPT)
    key = Path(book.directory, "key")
    key.chmod(0o640)
    assert Book(book.directory).read("/store/x", "a" * 64) is None
    with pytest.raises(AirlockError, match="others may read or change the key"):
        Book(book.directory).write(RECEIPT)
    key.unlink()
    fresh = Book(book.directory)
    fresh.write(RECEIPT)
    assert fresh.read("/store/x", "a" * 64) == RECEIPT


def test_only_a_private_directory_is_a_book(tmp_path: Path, book: Book) -> None:
    assert book.exists
    assert not Book(str(tmp_path / "none")).exists
    os.chmod(book.directory, 0o755)
    assert not book.exists


def test_receipts_go_one_by_one_and_all_but_some(book: Book) -> None:
    for path in ("/store/x", "/store/y", "/store/z"):
        book.write(replace(RECEIPT, path=path))
    book.drop("/store/z", "a" * 64)
    book.drop("/store/z", "a" * 64)
    book.keep_only({("/store/x", "a" * 64)})
    assert book.read("/store/x", "a" * 64) is not None
    assert len(os.listdir(book.directory)) == 2  # and the key


def test_moments_of_one_boot_agree() -> None:
    first, second = Moment.now(), Moment.now()
    assert first.boot_id == second.boot_id
    assert first.when <= second.when
