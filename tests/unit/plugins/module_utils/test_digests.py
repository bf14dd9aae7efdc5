# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import digests

# Of the three bytes "abc": NIST FIPS 180-4, and the test vectors of BLAKE3.
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
BLAKE3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
needs_b3sum = pytest.mark.skipif(not digests.has_blake3(), reason="b3sum is not installed")


@pytest.fixture
def abc(tmp_path: Path) -> int:
    (tmp_path / "abc").write_bytes(b"abc")
    return os.open(tmp_path / "abc", os.O_RDONLY)


@needs_b3sum
def test_both_digests_of_one_pass_are_those_of_the_standards(abc: int) -> None:
    assert digests.both(abc, keep_cache=False) == (SHA256, BLAKE3)
    assert digests.both(abc, keep_cache=True) == (SHA256, BLAKE3)
    assert digests.blake3_of(abc, keep_cache=True) == BLAKE3
    assert digests.blake3_of(abc, keep_cache=False) == BLAKE3


def test_a_host_without_the_program_has_one_digest(
    abc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert digests.both(abc, keep_cache=True) == (SHA256, "")
    with digests.blake3() as witness:
        assert witness is None
    with pytest.raises(FileNotFoundError):
        digests.blake3_of(abc, keep_cache=True)


@needs_b3sum
def test_many_pieces_are_one_file_and_what_is_given_up_leaves_nothing() -> None:
    with digests.blake3() as witness:
        assert witness
        for piece in (b"a", b"b", memoryview(b"c")):
            witness.update(piece)
        assert witness.hexdigest() == BLAKE3
    with pytest.raises(RuntimeError, match="broken off"), digests.blake3() as witness:
        assert witness
        witness.update(bytes(1 << 22))
        raise RuntimeError("broken off")


def test_a_program_that_says_something_else_is_not_believed(
    abc: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b3sum").write_text("#!/bin/sh\necho no\n")
    (tmp_path / "b3sum").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(OSError, match="said 'no'"):
        digests.blake3_of(abc, keep_cache=True)


def test_large_files_are_read_to_their_end(tmp_path: Path) -> None:
    data = os.urandom(3 * 1024 * 1024 + 17)
    (tmp_path / "large").write_bytes(data)
    descriptor = os.open(tmp_path / "large", os.O_RDONLY)
    assert digests.both(descriptor, keep_cache=False)[0] == hashlib.sha256(data).hexdigest()
    os.close(descriptor)
