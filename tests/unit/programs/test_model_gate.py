# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

GATE = "roles/model_store/files/model_gate.py"
BYTES = b"weights" * 100_000
DIGEST = hashlib.sha256(BYTES).hexdigest()
ENTRY = {"path": "model.gguf", "size": len(BYTES), "sha256": DIGEST, "source": "PyPI x"}
MANIFEST = {"version": 1, "name": "small", "revision": "1", "licence": "MIT", "files": [ENTRY]}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(BYTES)
    (tmp_path / "manifest").write_text(json.dumps(MANIFEST))
    return tmp_path


def gate(run: Run, place: Path) -> subprocess.CompletedProcess[str]:
    return run(GATE, "--manifest", place / "manifest", "--path", place / "model")


def test_the_approved_model_is_let_through(run: Run, place: Path) -> None:
    done = gate(run, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_flipped_byte_is_refused_with_both_digests(run: Run, place: Path) -> None:
    flipped = b"W" + BYTES[1:]
    (place / "model").write_bytes(flipped)
    done = gate(run, place)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{place}/model: the file of model small is not the approved one: expected sha256 {DIGEST}, "
        f"found sha256 {hashlib.sha256(flipped).hexdigest()}; "
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model", BYTES[:-1], f"expected {len(BYTES)} bytes, found {len(BYTES) - 1} bytes"),
        ("model", None, "the model cannot be checked"),
        ("manifest", None, "the model cannot be checked"),
        ("manifest", b"{}", "the key 'version' is missing"),
        ("manifest", b'{"version": 1, "version": 1}', "the key 'version' appears twice"),
        (
            "manifest",
            json.dumps({**MANIFEST, "files": [ENTRY, {**ENTRY, "path": "b"}]}).encode(),
            "found 2 files",
        ),
    ],
)
def test_whatever_is_wrong_is_refused_in_one_line(
    run: Run, place: Path, name: str, content: bytes | None, sentence: str
) -> None:
    (place / name).unlink()
    if content is not None:
        (place / name).write_bytes(content)
    done = gate(run, place)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
