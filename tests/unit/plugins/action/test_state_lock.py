# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.action import state_lock
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import LockFiles

DIGEST = "ab" * 32
PLATFORM = {"distribution": "debian", "release": "13", "arch": "x86_64"}
PACKAGES = {"curl": {"version": "8.1"}}


def run(site: Path, *, check: bool = False, **wanted: Any) -> dict[str, Any]:
    packages = wanted.pop("packages", PACKAGES)
    arguments = {
        "state": "locked",
        "observation": {
            "state": {"platform": wanted.pop("platform", PLATFORM), "packages": packages},
            "coverage": {"covered": [], "not_covered": {}},
        },
        "intent": {"airlock_services": {"chat": {"model": "smol", "temperature": 0.5}}},
        "releases": [],
        "relock": False,
        "reason": "",
        **wanted,
    }
    return state_lock._run(LockFiles(site, "box", check=check), arguments)


def files(site: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (site / "state").glob("*")}


def test_the_first_run_creates_the_lock_and_the_second_changes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, check=True)["changed"] is True
    assert files(tmp_path) == {}
    assert run(tmp_path)["changed"] is True
    before = files(tmp_path)
    assert set(before) == {"box.lock.json", "box.observed.json", "box.ledger.jsonl"}
    assert run(tmp_path)["changed"] is False
    assert files(tmp_path) == before


def test_drift_is_told_and_never_taken_into_the_lock(tmp_path: Path) -> None:
    run(tmp_path)
    before = files(tmp_path)
    result = run(tmp_path, packages={**PACKAGES, "cowsay": {"version": "3"}})
    assert result["changed"] is False
    assert result["intent_changed"] is False
    assert [found["sentence"] for found in result["differences"]] == [
        "package cowsay: not in the lock, now here (version 3)"
    ]
    after = files(tmp_path)
    assert after["box.lock.json"] == before["box.lock.json"]
    assert b"cowsay" in after["box.observed.json"]


def test_relock_needs_a_reason_and_keeps_the_chain(tmp_path: Path) -> None:
    first = run(tmp_path)["lock"]
    other = {"packages": {}, "relock": True}
    with pytest.raises(AirlockError, match="not replaced without a reason"):
        run(tmp_path, **other, reason="  ")
    result = run(tmp_path, **other, reason="curl was never used")
    assert result["changed"] is True
    assert result["differences"] == []
    assert result["lock"]["serial"] == 2
    assert result["lock"]["lineage"] == first["lineage"]
    ledger = [json.loads(line) for line in files(tmp_path)["box.ledger.jsonl"].splitlines()]
    assert [(entry["kind"], entry["reason"]) for entry in ledger] == [
        ("created", ""),
        ("relocked", "curl was never used"),
    ]
    assert ledger[1]["previous"] == ledger[0]["digest"] == result["lock"]["previous"]


def test_relock_without_a_difference_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, relock=True)["changed"] is False


def test_a_changed_intent_is_said(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, intent={"airlock_services": {}})["intent_changed"] is True


@pytest.mark.parametrize("state", ["compared", "rebuildable", "read"])
def test_a_host_without_a_lock_is_refused(tmp_path: Path, state: str) -> None:
    with pytest.raises(AirlockError, match=r"the host box has no lock; run site\.yml"):
        run(tmp_path, state=state)
    assert not (tmp_path / "state").exists()


def test_comparing_writes_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    before = files(tmp_path)
    assert run(tmp_path, state="compared", packages={})["differences"] != []
    assert files(tmp_path) == before


def test_a_rebuild_gets_the_versions_of_the_lock(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, state="rebuildable", packages={})["package_versions"] == {"curl": "8.1"}


def test_a_rebuild_on_another_platform_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(AirlockError, match="platform release: was 13, is 12"):
        run(tmp_path, state="rebuildable", platform={**PLATFORM, "release": "12"})


def test_a_lock_edited_by_hand_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "state" / "box.lock.json"
    path.write_bytes(path.read_bytes().replace(b"8.1", b"8.2"))
    with pytest.raises(AirlockError, match="the file was edited or damaged"):
        run(tmp_path)


@pytest.mark.parametrize("host", ["../other", "a/b", ".", ""])
def test_a_host_name_that_leaves_the_directory_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(AirlockError, match="cannot be a file name"):
        LockFiles(tmp_path, host)


def test_a_missing_site_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AirlockError, match="the site directory does not exist"):
        LockFiles(tmp_path / "no", "box")
