# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.homelab.airlock.tests.corpus import gguf_cases

CHECK = "roles/model_store/files/model_check.py"
BYTES = gguf_cases.gguf()
DIGEST = hashlib.sha256(BYTES).hexdigest()
ENTRY = {"path": "model.gguf", "size": len(BYTES), "sha256": DIGEST, "source": "PyPI x"}
MANIFEST = {"version": 1, "name": "small", "revision": "1", "licence": "MIT", "files": [ENTRY]}


@pytest.fixture
def check(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Return the program, on a host with one model."""
    program = load(CHECK)
    for name in ("store", "manifests", "receipts"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setattr(program.manifests, "MANIFESTS", str(tmp_path / "manifests"))
    monkeypatch.setattr(program.manifests, "STORE", str(tmp_path / "store"))
    monkeypatch.setattr(program, "RELEASES", str(tmp_path / "none"))
    monkeypatch.setattr(program, "REPORT", str(tmp_path / "receipts" / "check.json"))
    monkeypatch.setattr(program, "Book", lambda: program_book(program, tmp_path))
    (tmp_path / "manifests" / "small.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "store" / f"sha256-{DIGEST}").write_bytes(BYTES)
    (tmp_path / "store" / f"sha256-{DIGEST}").chmod(0o444)
    return program


def program_book(program: ModuleType, place: Path) -> object:
    return program.custody.Book(str(place / "receipts"))


def report(place: Path) -> tuple[bool, str]:
    document = json.loads((place / "receipts" / "check.json").read_text())
    return document["holds"], document["reason"]


def test_every_model_is_read_and_old_receipts_go(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "receipts" / ("0" * 32 + ".receipt")).write_text("old")
    assert check.main() == 0
    assert report(tmp_path) == (True, "")
    assert len(list((tmp_path / "receipts").glob("*.receipt"))) == 1


def test_what_is_not_the_approved_one_is_said_and_starts_no_more(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.main()
    path = tmp_path / "store" / f"sha256-{DIGEST}"
    path.chmod(0o644)
    path.write_bytes(BYTES[:-1] + b"\x01")
    path.chmod(0o444)
    assert check.main() == 1
    holds, reason = report(tmp_path)
    assert (holds, f"the file is corrupt: expected sha256 {DIGEST}" in reason) == (False, True)
    assert capsys.readouterr().err.startswith(f"<3>{path}: the file is corrupt")
    assert list((tmp_path / "receipts").glob("*.receipt")) == []


def test_a_damaged_manifest_is_a_finding(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "manifests" / "other.json").write_text("{")
    path = tmp_path / "store" / f"sha256-{DIGEST}"
    path.unlink()
    assert check.main() == 1
    said = report(tmp_path)[1]
    assert "other.json: this is not valid JSON" in said
    assert f"{path}: the file is missing" in said  # the others are looked at all the same
