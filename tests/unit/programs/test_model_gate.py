# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

GATE = "roles/model_store/files/model_gate.py"
BYTES = b"weights" * 100_000
DIGEST = hashlib.sha256(BYTES).hexdigest()
ENTRY = {"path": "model.gguf", "size": len(BYTES), "sha256": DIGEST, "source": "PyPI x"}
MANIFEST = {"version": 1, "name": "small", "revision": "1", "licence": "MIT", "files": [ENTRY]}

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def digest_of(manifest: object) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(BYTES)
    (tmp_path / "model").chmod(0o444)
    (tmp_path / "manifest").write_text(json.dumps(MANIFEST))
    (tmp_path / "receipts").mkdir(mode=0o700)
    return tmp_path


def admit(run: Run, place: Path, *more: object, manifest: object = None) -> Done:
    return run(
        GATE, "--directory", place / "gate", "admit", "--release", "chat-1a2b3c4d",
        "--manifest", place / "manifest", "--manifest-sha256", digest_of(manifest or MANIFEST),
        "--path", place / "model", "--receipts", place / "receipts", *more,
    )  # fmt: skip


def look(run: Run, place: Path, name: str, path: Path, *more: object) -> Done:
    directory = place / "gate"
    return run(
        GATE, "--directory", directory, name, "--release", "chat-1a2b3c4d", "--path", path, *more
    )


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o444)


def test_the_approved_model_is_let_through_and_the_next_time_unread(run: Run, place: Path) -> None:
    first, second = admit(run, place), admit(run, place)
    reason = "because it has no receipt that can be trusted"
    assert first.stdout == f"{place}/model: proven by every byte, {reason}.\n"
    assert second.stdout == f"{place}/model: proven by its receipt.\n"
    assert (first.returncode, first.stderr, second.returncode, second.stderr) == (0, "", 0, "")


def test_what_the_unit_sees_has_to_be_what_was_admitted(run: Run, place: Path) -> None:
    missing = look(run, place, "seen", place / "model")
    assert missing.returncode == 1
    admit(run, place)
    assert look(run, place, "seen", place / "model").returncode == 0
    (place / "other").write_bytes(BYTES)
    other = look(run, place, "seen", place / "other")
    assert other.returncode == 1
    assert "what the unit sees is not the file that was admitted: expected ino" in other.stderr


def test_the_door_opens_when_the_admitted_file_is_mapped(run: Run, place: Path) -> None:
    admit(run, place)
    door = place / "door"
    door.mkdir(mode=0o700)
    (place / "other").write_bytes(BYTES)

    def mapped(path: Path) -> Done:
        descriptor = os.open(path, os.O_RDONLY)
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ):
            os.close(descriptor)
            return look(run, place, "mapped", path, "--pid", os.getpid(), "--door", door)

    if os.geteuid() != 0:
        pytest.skip("only root may follow /proc/PID/map_files")
    refused = mapped(place / "other")
    assert refused.returncode == 1
    assert "the runtime has not loaded the file that was admitted" in refused.stderr
    assert door.stat().st_mode & 0o777 == 0o700
    assert mapped(place / "model").returncode == 0
    assert door.stat().st_mode & 0o777 == 0o750


def test_one_flipped_byte_is_refused_and_the_refusal_remembered(run: Run, place: Path) -> None:
    admit(run, place)
    flipped = b"W" + BYTES[1:]
    rewrite(place / "model", flipped)
    (place / "receipts" / "key").unlink()  # so that SHA-256 decides
    done = admit(run, place)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{place}/model: the file is not the approved one: expected sha256 {DIGEST}, "
        f"found sha256 {hashlib.sha256(flipped).hexdigest()}; "
    )
    assert done.stderr.count("\n") == 1
    assert look(run, place, "seen", place / "model").returncode == 1
    again = admit(run, place)
    assert again.stderr.startswith(done.stderr.rstrip("\n"))
    assert again.stderr.endswith("Nothing has changed since it was refused.\n")
    rewrite(place / "model", BYTES)
    assert admit(run, place).returncode == 0
    assert [path.name for path in (place / "gate").iterdir()] == ["chat-1a2b3c4d.json"]


def test_another_manifest_is_refused_whatever_the_model_is(run: Run, place: Path) -> None:
    done = admit(run, place, manifest={**MANIFEST, "revision": "2"})
    assert done.returncode == 1
    assert "the manifest is not the one that the release was made from" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model", BYTES[:-1], f"expected {len(BYTES)} bytes, found {len(BYTES) - 1} bytes"),
        ("model", None, "expected a file, found nothing"),
        ("manifest", None, "the model cannot be checked"),
        ("manifest", b"{}", "the key 'version' is missing"),
        ("manifest", b'{"version": 1, "version": 1}', "the key 'version' appears twice"),
    ],
)
def test_whatever_is_wrong_is_refused_in_one_line(
    run: Run, place: Path, name: str, content: bytes | None, sentence: str
) -> None:
    (place / name).unlink()
    if content is not None:
        (place / name).write_bytes(content)
        (place / name).chmod(0o444)
    done = admit(run, place)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_manifest_of_two_files_is_refused(run: Run, place: Path) -> None:
    manifest = {**MANIFEST, "files": [ENTRY, {**ENTRY, "path": "b"}]}
    (place / "manifest").write_text(json.dumps(manifest))
    done = admit(run, place, manifest=manifest)
    assert (done.returncode, "found 2 files" in done.stderr) == (1, True)
