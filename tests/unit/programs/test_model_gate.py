# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import mmap
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.tests.corpus import gguf_cases, split

GATE = "roles/model_store/files/model_gate.py"
BYTES = gguf_cases.gguf()
MODEL = "view/model-00001-of-00001.gguf"  # the names of the unit, so that it sees what was admitted
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
    (tmp_path / "view").mkdir()
    rewrite(tmp_path / MODEL, BYTES)
    (tmp_path / "manifest").write_text(json.dumps(MANIFEST))
    (tmp_path / "receipts").mkdir(mode=0o700)
    return tmp_path


def admit(run: Run, place: Path, names: Sequence[str] = (MODEL,), manifest: object = None) -> Done:
    return run(
        GATE, "--directory", place / "gate", "admit", "--release", "chat-1a2b3c4d",
        "--manifest", place / "manifest", "--manifest-sha256", digest_of(manifest or MANIFEST),
        "--receipts", place / "receipts", "--path", *(place / name for name in names),
    )  # fmt: skip


def look(run: Run, place: Path, name: str, *more: object) -> Done:
    common = ["--release", "chat-1a2b3c4d", "--view", place / "view"]
    return run(GATE, "--directory", place / "gate", name, *common, *more)


def rewrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(0o444)


def maps(run: Run, place: Path, *names: str) -> Done:
    """Look at this process while it has mapped these files."""
    with ExitStack() as stack:
        for name in names:
            with (place / name).open("rb") as source:
                pages = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
            stack.enter_context(pages)
        return look(run, place, "mapped", "--pid", os.getpid(), "--door", place / "door")


def test_the_approved_model_is_let_through_and_the_next_time_unread(run: Run, place: Path) -> None:
    first, second = admit(run, place), admit(run, place)
    reason = "because it has no receipt that can be trusted"
    assert first.stdout == f"{place}/{MODEL}: proven by every byte, {reason}.\n"
    assert second.stdout == f"{place}/{MODEL}: proven by its receipt.\n"
    assert (first.returncode, first.stderr, second.returncode, second.stderr) == (0, "", 0, "")


def test_what_the_unit_sees_has_to_be_what_was_admitted(run: Run, place: Path) -> None:
    assert look(run, place, "seen").returncode == 1
    admit(run, place)
    assert look(run, place, "seen").returncode == 0
    (place / "view" / "other.gguf").write_bytes(BYTES)
    more = look(run, place, "seen")
    assert (more.returncode, "found other.gguf besides" in more.stderr) == (1, True)
    (place / "view" / "other.gguf").rename(place / MODEL)
    other = look(run, place, "seen")
    assert other.returncode == 1
    assert "what the unit sees is not the file that was admitted: expected ino" in other.stderr
    (place / MODEL).unlink()
    assert "model-00001-of-00001.gguf missing" in look(run, place, "seen").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may follow /proc/PID/map_files")
def test_the_door_opens_when_the_admitted_file_is_mapped(run: Run, place: Path) -> None:
    admit(run, place)
    (place / "door").mkdir(mode=0o700)
    (place / "other").write_bytes(BYTES)
    refused = maps(run, place, "other")
    assert refused.returncode == 1
    assert "the runtime has not loaded what was admitted" in refused.stderr
    assert (place / "door").stat().st_mode & 0o777 == 0o700
    assert maps(run, place, "other", MODEL).returncode == 0
    assert (place / "door").stat().st_mode & 0o777 == 0o750


PARTS = split.parts(gguf_cases.gguf(), "q/small")
VIEWS = [f"view/model-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.fixture
def parted(place: Path) -> dict[str, object]:
    """Put a model in three parts, the first without a tensor, and a side file in the place; return its manifest."""
    (place / MODEL).unlink()
    for view, data in zip(VIEWS, PARTS.values(), strict=True):
        rewrite(place / view, data)
    files = [
        {**ENTRY, "path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in {"README.md": b"hi", **PARTS}.items()
    ]
    manifest = {**MANIFEST, "files": files[::-1]}
    (place / "manifest").write_text(json.dumps(manifest))
    (place / "door").mkdir(mode=0o700)
    return manifest


def test_every_part_is_proven_and_seen(run: Run, place: Path, parted: dict[str, object]) -> None:
    done = admit(run, place, VIEWS, parted)
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [
        f"{place}/{view}" for view in VIEWS
    ]
    assert look(run, place, "seen").returncode == 0
    rewrite(place / VIEWS[2], list(PARTS.values())[2])
    other = look(run, place, "seen")
    assert f"{place}/{VIEWS[2]}: what the unit sees is not the file that" in other.stderr
    (place / VIEWS[2]).unlink()
    assert "found model-00003-of-00003.gguf missing" in look(run, place, "seen").stderr


def test_a_part_that_is_flipped_swapped_or_left_out_is_refused(
    run: Run, place: Path, parted: dict[str, object]
) -> None:
    admit(run, place, VIEWS, parted)
    swapped = admit(run, place, [VIEWS[0], VIEWS[2], VIEWS[1]], parted)
    assert (swapped.returncode, "is not the approved one" in swapped.stderr) == (1, True)
    short = admit(run, place, VIEWS[:2], parted)
    assert "expected 3 files, found 2" in short.stderr
    data = list(PARTS.values())[1]
    rewrite(place / VIEWS[1], data[:-1] + b"x")
    flipped = admit(run, place, VIEWS, parted)
    assert f"{place}/{VIEWS[1]}: the file is not the approved one" in flipped.stderr
    assert "Nothing has changed" in admit(run, place, VIEWS, parted).stderr
    rewrite(place / VIEWS[1], data)
    assert admit(run, place, VIEWS, parted).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may follow /proc/PID/map_files")
def test_every_part_with_a_tensor_has_to_be_mapped_and_nothing_else(
    run: Run, place: Path, parted: dict[str, object]
) -> None:
    admit(run, place, VIEWS, parted)
    assert maps(run, place, *VIEWS).returncode == 0
    assert maps(run, place, *VIEWS[1:]).returncode == 0
    assert maps(run, place, *VIEWS[:2]).returncode == 1
    (place / "view" / "besides").write_bytes(BYTES)
    assert maps(run, place, *VIEWS, "view/besides").returncode == 1


def test_a_model_that_is_no_gguf_is_refused(run: Run, place: Path) -> None:
    manifest = {**MANIFEST, "files": [{**ENTRY, "path": "model.safetensors"}]}
    (place / "manifest").write_text(json.dumps(manifest))
    done = admit(run, place, manifest=manifest)
    assert (done.returncode, "llama.cpp cannot load the model small" in done.stderr) == (1, True)


def test_one_flipped_byte_is_refused_and_the_refusal_remembered(run: Run, place: Path) -> None:
    admit(run, place)
    flipped = b"g" + BYTES[1:]
    rewrite(place / MODEL, flipped)
    (place / "receipts" / "key").unlink()  # so that SHA-256 decides
    done = admit(run, place)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{place}/{MODEL}: the file is not the approved one: expected sha256 {DIGEST}, "
        f"found sha256 {hashlib.sha256(flipped).hexdigest()}; "
    )
    assert done.stderr.count("\n") == 1
    assert look(run, place, "seen").returncode == 1
    again = admit(run, place)
    assert again.stderr.startswith(done.stderr.rstrip("\n"))
    assert again.stderr.endswith("Nothing has changed since it was refused.\n")
    rewrite(place / MODEL, BYTES)
    assert admit(run, place).returncode == 0
    assert [path.name for path in (place / "gate").iterdir()] == ["chat-1a2b3c4d.json"]


def test_another_manifest_is_refused_whatever_the_model_is(run: Run, place: Path) -> None:
    done = admit(run, place, manifest={**MANIFEST, "revision": "2"})
    assert done.returncode == 1
    assert "the manifest is not the one that the release was made from" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (MODEL, BYTES[:-1], f"expected {len(BYTES)} bytes, found {len(BYTES) - 1} bytes"),
        (MODEL, None, "expected a file, found nothing"),
        ("manifest", None, "The model cannot be checked"),
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
