# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ansible_collections.homelab.airlock.plugins.modules import model_verify


def entry(path: Path, data: bytes) -> dict[str, Any]:
    return {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_the_worst_file_decides(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).write_bytes(b"weights")
        (tmp_path / name).chmod(0o444)
    good, gone = entry(tmp_path / "good", b"weights"), entry(tmp_path / "gone", b"weights")
    bad = entry(tmp_path / "bad", b"WEIGHTS")
    params: dict[str, Any] = {
        "owner": os.geteuid(),
        "mode": "0444",
        "level": "receipt",
        "receipts": str(tmp_path / "receipts"),
    }
    for files, state in (([good], "ok"), ([good, gone], "missing"), ([gone, bad], "corrupt")):
        params["models"] = [{"name": "small", "files": files}]
        result = model_verify.verify(params, issue=True)["small"]
        assert result["state"] == state
    assert result["reasons"][1] == (
        f"model small, {tmp_path}/bad: the file is corrupt: expected sha256 {bad['sha256']}, "
        f"found sha256 {good['sha256']}."
    )
    assert [file["state"] for file in result["files"]] == ["missing", "corrupt"]
    assert [file["read"] for file in result["files"]] == [0, 7]
