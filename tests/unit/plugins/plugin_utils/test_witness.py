# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import ledger
from ansible_collections.homelab.airlock.plugins.plugin_utils import witness


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_has_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nameless() -> str:
        raise error("getpwuid(): uid not found")

    monkeypatch.setattr(witness.getpass, "getuser", nameless)
    witness.record(tmp_path, [ledger.Event("fetched", "model chat", {})])
    (entry,) = ledger.read(str(tmp_path))
    assert entry["actor"].partition("@")[0] == f"uid-{os.getuid()}"
