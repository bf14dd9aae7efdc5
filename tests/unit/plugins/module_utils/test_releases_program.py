# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import releases_program


def test_a_refusal_is_one_line_with_the_priority_err(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert releases_program.refuse("no\nmodel.") == 1
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert releases_program.refuse("no model.") == 1
    assert capsys.readouterr().err == "no model.\n<3>no model.\n"


def test_readiness_reaches_the_service_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    releases_program.notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        releases_program.notify("READY=1")
        assert manager.recv(100) == b"READY=1"
