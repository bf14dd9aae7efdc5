# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.homelab.airlock.plugins.action import ledger as action
from ansible_collections.homelab.airlock.plugins.filter.ledger_entries import ledger_entries
from ansible_collections.homelab.airlock.plugins.module_utils import ledger

FETCHED = [{"name": "model small", "sha256": "a" * 64, "size": 7, "fetched": True}]


def entries() -> list[dict[str, Any]]:
    return ledger_entries(FETCHED, "fetched", "name", ["sha256", "size"], host="box")


def test_entries_say_what_where_and_how() -> None:
    (entry,) = entries()
    assert entry["subject"] == "model small"
    assert entry["result"] == {"host": "box", "sha256": "a" * 64, "size": 7}
    assert "host" not in ledger_entries(FETCHED, "fetched", "name", ["size"])[0]["result"]


def test_events_are_written_and_check_mode_writes_none(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert action._append(directory, entries(), check=True) == {"changed": True, "added": 1}
    assert not directory.exists()
    assert action._append(directory, [], check=False) == {"changed": False, "added": 0}
    assert not directory.exists()
    assert action._append(directory, entries(), check=False)["added"] == 1
    (found,) = ledger.read(str(directory))
    assert found["kind"] == "fetched"
    assert "@" in found["actor"]


def test_a_whole_ledger_is_proven_with_attacks(tmp_path: Path) -> None:
    action._append(tmp_path, entries(), check=False)
    proof = action._prove(tmp_path)
    assert proof["whole"]
    assert [attack["holds"] for attack in proof["attacks"]] == [True, True]


def test_a_broken_or_missing_ledger_is_said(tmp_path: Path) -> None:
    assert action._prove(tmp_path)["observed"] == "the ledger has no entry"
    action._append(tmp_path, entries() * 2, check=False)
    path = tmp_path / ledger.FILE
    path.write_bytes(path.read_bytes().replace(b"model small", b"model large", 1))
    proof = action._prove(tmp_path)
    assert not proof["whole"]
    assert "the chain of the ledger is broken" in proof["observed"]
