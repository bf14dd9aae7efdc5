# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import custody, digests
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.formats_checked import Checked
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import Book, Moment
from ansible_collections.homelab.airlock.tests.corpus import gguf_cases

BYTES = gguf_cases.gguf()
NOW = Moment("boot", 1_000_000)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    (tmp_path / "receipts").mkdir(mode=0o700)
    return Book(str(tmp_path / "receipts"))


@pytest.fixture
def subject(tmp_path: Path) -> custody.Subject:
    path = tmp_path / "model"
    path.write_bytes(BYTES)
    path.chmod(0o444)
    content = Content(hashlib.sha256(BYTES).hexdigest(), len(BYTES))
    return custody.Subject(str(path), content, "a" * 64, "model.gguf")


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o444)


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o444)


FLIPPED = BYTES[:-1] + b"\x01"


@pytest.mark.parametrize(
    ("attack", "state", "found", "read"),
    [
        (lambda _path: None, "ok", "", 0),
        (lambda path: path.unlink(), "missing", "nothing", 0),
        (
            lambda path: rewrite(path, FLIPPED),
            "corrupt",
            f"sha256 {hashlib.sha256(FLIPPED).hexdigest()}",
            len(BYTES),
        ),
        (_link, "corrupt", "a symbolic link", 0),
        (_pipe, "corrupt", "something else", 0),
        (lambda path: os.link(path, path.with_name("second")), "corrupt", "2 names for it", 0),
        (lambda path: path.chmod(0o644), "corrupt", f"owner {os.geteuid()} and mode 0644", 0),
        (lambda path: (path.unlink(), path.mkdir()), "corrupt", "something else", 0),
        (lambda path: rewrite(path, b"x"), "corrupt", "1 bytes", 0),
    ],
)
def test_files_are_held_against_their_content(
    subject: custody.Subject,
    book: Book,
    monkeypatch: pytest.MonkeyPatch,
    attack: Callable[[Path], None],
    state: str,
    found: str,
    read: int,
) -> None:
    monkeypatch.setattr(digests, "has_blake3", lambda: False)
    assert custody.prove(subject, book, NOW).level == custody.CONTENT
    attack(Path(subject.path))
    finding = custody.prove(subject, book, NOW)
    assert (finding.state, finding.found, finding.read) == (state, found, read)
    assert custody.glance(subject, book, NOW).state == state


def test_a_proof_is_kept_until_something_changes(subject: custody.Subject, book: Book) -> None:
    first = custody.prove(subject, book, NOW)
    assert (first.level, first.read, first.stale) == (
        custody.CONTENT,
        len(BYTES),
        "it has no receipt that can be trusted",
    )
    assert custody.prove(subject, book, NOW).read == 0
    for level in (custody.CONTENT, custody.FULL):
        assert custody.prove(subject, book, NOW, least=level).read == len(BYTES)
    later = replace(NOW, boot_id="next")
    assert custody.prove(subject, book, later, issue=False).stale == "the host was started since"
    assert custody.prove(subject, book, later).read == len(BYTES)
    assert custody.prove(subject, book, later).read == 0
    os.utime(subject.path)
    assert "ctime_ns" in custody.prove(subject, book, later).stale


def test_a_corrupt_file_loses_its_receipt(subject: custody.Subject, book: Book) -> None:
    custody.prove(subject, book, NOW)
    rewrite(Path(subject.path), FLIPPED)
    custody.prove(subject, book, NOW)
    assert book.read(subject.path, subject.manifest) is None


def test_without_a_directory_every_look_reads_everything(subject: custody.Subject) -> None:
    nowhere = Book("/nonexistent")
    assert [custody.prove(subject, nowhere, NOW).read for _look in range(2)] == [len(BYTES)] * 2


def test_who_holds_it_open_for_writing_is_refused(subject: custody.Subject, book: Book) -> None:
    with open(os.open(subject.path, os.O_RDWR), "r+b"):
        finding = custody.prove(subject, book, NOW)
    assert (finding.state, finding.expected) == ("corrupt", "nobody who may write to it")
    assert "find the process with 'fuser -v'" in finding.found
    assert custody.prove(subject, book, NOW).state == "ok"


def test_a_file_that_changes_while_it_is_read_is_corrupt(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = digests.both

    def meddle(descriptor: int, *, keep_cache: bool) -> tuple[str, str]:
        found = true(descriptor, keep_cache=keep_cache)
        os.utime(subject.path)
        return found

    monkeypatch.setattr(digests, "both", meddle)
    assert custody.prove(subject, book, NOW).found == "one that changes"


def test_the_structure_is_looked_at_where_it_is_asked_for(
    subject: custody.Subject, book: Book
) -> None:
    other = replace(subject, checked=Checked("gguf", architecture="qwen2"))
    assert custody.prove(other, book, NOW).state == "ok"
    finding = custody.prove(other, book, NOW, least=custody.FULL)
    assert (finding.state, finding.level) == ("corrupt", custody.FULL)
    assert "the architecture is not the approved one" in finding.found
    rewrite(Path(subject.path), b"no model")
    junk = replace(subject, content=Content(hashlib.sha256(b"no model").hexdigest(), 8))
    assert custody.prove(junk, book, NOW).state == "ok"
    assert custody.prove(junk, book, NOW, least=custody.FULL).state == "corrupt"


def test_the_kernel_may_stand_guard(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "measure_verity", lambda _descriptor: "e" * 64)
    custody.prove(subject, book, NOW)
    again = custody.prove(subject, book, replace(NOW, boot_id="next"))
    assert (again.state, again.level, again.read, again.verity) == ("ok", custody.VERITY, 0, True)
    monkeypatch.setattr(custody, "measure_verity", lambda _descriptor: "f" * 64)
    assert custody.prove(subject, book, replace(NOW, boot_id="third")).read == len(BYTES)


class Counted:
    """Stands in for b3sum where there is none."""

    def __init__(self) -> None:
        self._hasher = hashlib.blake2s()
        self.update = self._hasher.update
        self.hexdigest = self._hasher.hexdigest


def test_the_fast_digest_is_taken_where_the_host_has_it(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def blake3() -> Iterator[Counted]:
        yield Counted()

    def of(descriptor: int, *, keep_cache: bool) -> str:
        return hashlib.blake2s(os.pread(descriptor, 1 << 20, 0)).hexdigest()

    def never(*_arguments: Any, **_options: Any) -> tuple[str, str]:
        raise AssertionError("SHA-256 was asked for")

    for name, stand_in in {"has_blake3": lambda: True, "blake3": blake3, "blake3_of": of}.items():
        monkeypatch.setattr(digests, name, stand_in)
    custody.prove(subject, book, NOW)
    monkeypatch.setattr(digests, "both", never)
    assert custody.prove(subject, book, NOW, least=custody.CONTENT).state == "ok"
    rewrite(Path(subject.path), FLIPPED)
    finding = custody.prove(subject, book, NOW)
    assert finding.state == "corrupt"
    assert finding.expected.startswith("blake3 ")


def test_a_received_file_is_sealed_and_has_its_receipt(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(custody, "enable_verity", lambda _descriptor: asked.append("verity"))
    monkeypatch.setattr(custody, "make_immutable", lambda _descriptor: asked.append("immutable"))
    custody.receive(subject, "c" * 64, book, NOW)
    assert asked == ["verity", "immutable"]
    assert custody.prove(subject, book, NOW).read == 0
    receipt = book.read(subject.path, subject.manifest)
    assert receipt
    assert (receipt.blake3, receipt.level) == ("c" * 64, custody.CONTENT)


def test_several_files_are_proven_at_once(subject: custody.Subject, book: Book) -> None:
    # With what a catalog says of its format, as a pulled model has it.
    subject = replace(subject, checked=Checked("gguf", tensor_count=2))
    missing = replace(subject, path=subject.path + "x")
    found = custody.prove_all([missing, subject], book, NOW)
    assert {each.path: finding.state for each, finding in found.items()} == {
        subject.path: "ok",
        missing.path: "missing",
    }


def test_strangers_are_what_nobody_named(tmp_path: Path) -> None:
    for name in ("known", "unknown", ".hidden", ".incoming-1", ".ingest-1"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".ingest-1", (0, 0))  # nobody pushes for years
    found = custody.strangers(str(tmp_path), [str(tmp_path / "known")])
    assert found == [str(tmp_path / name) for name in (".hidden", ".ingest-1", "unknown")]


def test_who_opens_it_for_writing_meanwhile_leaves_it_without_a_receipt(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = digests.both

    def disturbed(descriptor: int, *, keep_cache: bool) -> tuple[str, str]:
        with pytest.raises(
            BlockingIOError
        ):  # it would wait for the lease, which is being broken by it
            os.open(subject.path, os.O_WRONLY | os.O_NONBLOCK)
        return both(descriptor, keep_cache=keep_cache)

    monkeypatch.setattr(custody.digests, "both", disturbed)
    assert custody.prove(subject, book, Moment.now()).state == custody.CORRUPT
    assert book.read(subject.path, subject.manifest) is None


def test_a_file_that_cannot_be_read_is_corrupt_and_loses_its_receipt(
    subject: custody.Subject, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert custody.prove(subject, book, Moment.now()).state == custody.OK

    def broken(*_arguments: object, **_options: object) -> tuple[str, str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(custody.digests, "both", broken)
    (found,) = custody.prove_all([subject], book, Moment.now(), least=custody.FULL).values()
    assert (found.state, "Input/output error" in found.found) == (custody.CORRUPT, True)
    assert book.read(subject.path, subject.manifest) is None


def test_a_finding_is_one_sentence() -> None:
    finding = custody.Finding("/m", "corrupt", expected="7 bytes", found="6 bytes")
    assert (
        finding.sentence("model small")
        == "model small: the file is corrupt: expected 7 bytes, found 6 bytes."
    )
