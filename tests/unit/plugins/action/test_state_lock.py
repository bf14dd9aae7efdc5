# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.action import state_lock
from ansible_collections.homelab.airlock.plugins.module_utils import canonical, ledger
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import LockFiles
from ansible_collections.homelab.airlock.plugins.plugin_utils.witness import record

DIGEST = "ab" * 32
PLATFORM = {"distribution": "debian", "release": "13", "arch": "x86_64"}
PACKAGES = {"curl": {"version": "8.1"}}


def run(site: Path, *, host: str = "box", check: bool = False, **wanted: Any) -> dict[str, Any]:
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
        "remembered": None,
        **wanted,
    }
    return state_lock._run(LockFiles(site, host, check=check), arguments)


def files(site: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (site / "state").glob("*")}


def test_the_first_run_creates_the_lock_and_the_second_changes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, check=True)["changed"] is True
    assert files(tmp_path) == {}
    assert run(tmp_path)["changed"] is True
    before = files(tmp_path)
    assert set(before) == {
        "box.lock.1.dsse.json",
        "box.lock.json",
        "box.observed.json",
        "ledger.jsonl",
        "signing.key",
    }
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
    made, *entries = ledger.read(str(tmp_path / "state"))
    assert [(entry["kind"], entry["result"]["reason"]) for entry in entries] == [
        ("lock-created", ""),
        ("lock-relocked", "curl was never used"),
    ]
    one, two = (entry["result"] for entry in entries)
    assert made["kind"] == "key-made"
    assert made["result"]["key"] == one["key"]
    assert two["previous"] == one["digest"] == result["lock"]["previous"]
    assert [name for name in files(tmp_path) if "dsse" in name] == ["box.lock.2.dsse.json"]


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


# -- signatures ----------------------------------------------------------------------------------

OTHER = {"packages": {"curl": {"version": "8.2"}}}


def lock_file(site: Path) -> Path:
    return site / "state" / "box.lock.json"


def edit(site: Path, **changes: Any) -> None:
    """Change the lock as somebody would who knows its form."""
    lock = {**canonical.loads(lock_file(site).read_bytes()), **changes}
    lock["state_digest"] = canonical.digest(lock["state"])
    lock_file(site).write_bytes(canonical.dumps(lock) + b"\n")


@pytest.mark.parametrize("state", ["locked", "compared", "rebuildable", "read"])
def test_a_lock_that_is_not_as_it_was_signed_is_refused(tmp_path: Path, state: str) -> None:
    run(tmp_path)
    edit(tmp_path, state={"platform": PLATFORM, "packages": {"curl": {"version": "6.6.6"}}})
    before = files(tmp_path)
    with pytest.raises(AirlockError, match=r"box\.lock\.json is not what was signed"):
        run(tmp_path, state=state)
    with pytest.raises(AirlockError, match="is not what was signed"):
        run(tmp_path, relock=True, reason="who cares")
    assert files(tmp_path) == before


def test_a_signature_by_another_key_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "state" / "signing.key").unlink()
    with pytest.raises(AirlockError, match="the signing key of this site is gone"):
        run(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    run(other)
    shutil.copy2(other / "state" / "signing.key", tmp_path / "state" / "signing.key")
    with pytest.raises(AirlockError, match="not made by the signing key of this site"):
        run(tmp_path)


def test_a_lock_without_its_signature_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "state" / "box.lock.1.dsse.json").unlink()
    with pytest.raises(AirlockError, match="has no signature, and locks of this host are signed"):
        run(tmp_path)


def unsigned(site: Path) -> None:
    """Leave what there was before locks were signed."""
    run(site)
    for name in ("box.lock.1.dsse.json", "ledger.jsonl", "signing.key"):
        (site / "state" / name).unlink()


def test_a_lock_from_before_is_signed_once_as_it_is(tmp_path: Path) -> None:
    unsigned(tmp_path)
    before = lock_file(tmp_path).read_bytes()
    for state in ("compared", "rebuildable", "read"):
        with pytest.raises(
            AirlockError, match=r"has no signature; .*run site\.yml, which signs it"
        ):
            run(tmp_path, state=state)
    assert run(tmp_path, check=True)["kind"] == "adopted"
    result = run(tmp_path)
    assert (result["changed"], result["kind"]) == (True, "adopted")
    assert lock_file(tmp_path).read_bytes() == before
    again = run(tmp_path, remembered=result["accepted"])
    assert (again["changed"], again["kind"]) == (False, None)
    assert again["accepted"] == result["accepted"]


def test_a_lock_from_before_is_refused_by_a_host_that_accepted_a_signed_one(tmp_path: Path) -> None:
    accepted = run(tmp_path)["accepted"]
    for name in ("box.lock.1.dsse.json", "ledger.jsonl"):
        (tmp_path / "state" / name).unlink()
    with pytest.raises(AirlockError, match="no signature, and the host has accepted a signed one"):
        run(tmp_path, remembered=accepted)


def test_an_older_lock_is_refused_where_the_host_remembers_a_newer_one(tmp_path: Path) -> None:
    first = run(tmp_path)["accepted"]
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path / "state", backup)
    newer = run(tmp_path, **OTHER, relock=True, reason="curl 8.2", remembered=first)["accepted"]
    assert newer["serial"] == 2
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(backup, tmp_path / "state")
    for state in ("locked", "compared", "rebuildable", "read"):
        with pytest.raises(AirlockError, match=r"older than the one.*expected serial 2.*serial 1"):
            run(tmp_path, state=state, remembered=newer)
    consented = run(tmp_path, relock=True, reason="the disk died", remembered=newer)
    assert {**consented["accepted"], "digest": ""} == {**newer, "serial": 3, "digest": ""}


def test_a_new_lineage_needs_consent(tmp_path: Path) -> None:
    accepted = run(tmp_path)["accepted"]
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(AirlockError, match="accepted a lock that the site directory does not have"):
        run(tmp_path, remembered=accepted)
    with pytest.raises(AirlockError, match="not replaced without a reason"):
        run(tmp_path, remembered=accepted, relock=True)
    result = run(tmp_path, remembered=accepted, relock=True, reason="the site directory is lost")
    assert result["lock"]["lineage"] == accepted["lineage"]
    assert result["lock"]["serial"] == 2


def test_a_broken_ledger_stops_a_new_lock(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "state" / "ledger.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    before = files(tmp_path)
    with pytest.raises(AirlockError, match="the chain of the ledger is broken"):
        run(tmp_path, **OTHER, relock=True, reason="curl 8.2")
    assert files(tmp_path)["box.lock.json"] == before["box.lock.json"]


def test_what_is_tried_for_the_evidence_is_refused(tmp_path: Path) -> None:
    accepted = run(tmp_path)["accepted"]
    tried = run(tmp_path, state="attacked", remembered=accepted)
    assert len(tried["attacks"]) == 5
    assert [attack for attack in tried["attacks"] if not attack["holds"]] == []
    assert tried["itself"] == "lock 1 itself is accepted"


def test_the_ledger_stands_in_for_a_host_that_remembers_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    tried = run(tmp_path, state="attacked")
    assert [attack for attack in tried["attacks"] if not attack["holds"]] == []
    assert tried["itself"] == "lock 1 itself is accepted"


# -- a machine that remembers nothing: the ledger ------------------------------------------------

READERS = ("compared", "rebuildable", "read")


def relocked(site: Path, version: str) -> dict[str, Any]:
    packages = {"curl": {"version": version}}
    return run(site, packages=packages, relock=True, reason=f"curl {version}")


def locks(site: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(site).items() if name.startswith("box.lock")}


def put(site: Path, found: dict[str, bytes]) -> None:
    for name in locks(site):
        (site / "state" / name).unlink()
    for name, data in found.items():
        (site / "state" / name).write_bytes(data)


def test_an_older_lock_with_its_signature_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    old = locks(tmp_path)
    relocked(tmp_path, "8.2")
    newest = relocked(tmp_path, "8.3")["lock"]
    put(tmp_path, old)
    for state in ("locked", *READERS):
        with pytest.raises(
            AirlockError,
            match=r"older than the one that the ledger names: expected serial 3 .*ial 1 ",
        ):
            run(tmp_path, state=state)
    consented = run(tmp_path, relock=True, reason="back to the first")["lock"]
    assert (consented["lineage"], consented["serial"]) == (newest["lineage"], 4)
    assert run(tmp_path, state="read")["lock"] == consented


def test_a_lock_that_the_ledger_does_not_name_yet_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    old = files(tmp_path)["ledger.jsonl"]
    relocked(tmp_path, "8.2")
    (tmp_path / "state" / "ledger.jsonl").write_bytes(old)
    for state in ("locked", *READERS):
        with pytest.raises(AirlockError, match="newer than the one that the ledger names"):
            run(tmp_path, state=state)


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("edited", [True, False])
def test_a_key_without_its_ledger_is_refused(tmp_path: Path, gone: bool, edited: bool) -> None:
    run(tmp_path)
    (tmp_path / "state" / "ledger.jsonl").unlink()
    if not gone:  # somebody has fetched something since
        record(tmp_path / "state", [ledger.Event("fetched", "model chat", {"key": None})])
    if edited:
        (tmp_path / "state" / "box.lock.1.dsse.json").unlink()
        edit(tmp_path, state={"platform": PLATFORM, "packages": {"curl": {"version": "6.6.6"}}})
    before = files(tmp_path)
    for state in ("locked", *READERS):
        with pytest.raises(AirlockError, match=r"does not name the signing key .*airlock_relock"):
            run(tmp_path, state=state)
    assert files(tmp_path) == before
    assert run(tmp_path, relock=True, reason="the ledger is lost")["lock"]["serial"] == 2
    assert run(tmp_path)["kind"] is None


def test_two_hosts_have_one_key_and_one_ledger(tmp_path: Path) -> None:
    run(tmp_path)
    relocked(tmp_path, "8.2")
    other = {"host": "other"}
    assert run(tmp_path, **other)["kind"] == "created"
    assert run(tmp_path)["kind"] is None
    assert run(tmp_path, state="read", **other)["lock"]["serial"] == 1
    kinds = [entry["kind"] for entry in ledger.read(str(tmp_path / "state"))]
    assert kinds == ["key-made", "lock-created", "lock-relocked", "lock-created"]


def test_a_key_made_by_the_run_for_another_host_is_known(tmp_path: Path) -> None:
    files_of_box = LockFiles(tmp_path, "box")
    assert files_of_box.entered is None
    run(tmp_path, host="other")
    assert files_of_box.objection(None, None) is None


def test_two_hosts_from_before_are_both_adopted(tmp_path: Path) -> None:
    run(tmp_path, host="other")
    (tmp_path / "state" / "other.lock.1.dsse.json").unlink()
    unsigned(tmp_path)
    assert [run(tmp_path, host=host)["kind"] for host in ("box", "other", "box")] == [
        "adopted",
        "adopted",
        None,
    ]


def test_a_host_that_was_taken_away_comes_back(tmp_path: Path) -> None:
    first = run(tmp_path)["lock"]
    assert run(tmp_path)["kind"] is None  # its memory is gone, its lock is not
    put(tmp_path, {})
    again = run(tmp_path)
    assert (again["kind"], again["lock"]["lineage"], again["lock"]["serial"]) == (
        "created",
        first["lineage"],
        2,
    )


def test_an_empty_machine_is_rebuilt_from_a_backup(tmp_path: Path) -> None:
    run(tmp_path)
    relocked(tmp_path, "8.2")
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path / "state", backup)
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(backup, tmp_path / "state")
    assert run(tmp_path, state="rebuildable")["package_versions"] == {"curl": "8.2"}
    assert run(tmp_path, **OTHER)["kind"] is None
    assert run(tmp_path, **OTHER, state="compared")["differences"] == []


def test_two_copies_of_a_site_do_not_pass_for_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    run(one)
    shutil.copytree(one, two)
    accepted = relocked(one, "8.2")["accepted"]
    assert relocked(two, "8.3")["accepted"]["serial"] == accepted["serial"]
    for state in ("locked", *READERS):
        with pytest.raises(AirlockError, match="of other content and the same serial as the one"):
            run(two, state=state, remembered=accepted)


# -- power cuts and full disks -------------------------------------------------------------------


def cut_off(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the disk be full when file number ``step`` is put in its place, and from then on."""
    left, replace = iter(range(step)), os.replace

    def full(*names: Any) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        replace(*names)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("kind", ["created", "adopted", "relocked"])
@pytest.mark.parametrize("step", range(8))
def test_wherever_it_is_cut_off_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    wanted: dict[str, Any] = {}
    if kind == "adopted":
        unsigned(tmp_path)
    if kind == "relocked":
        run(tmp_path)
        wanted = {**OTHER, "relock": True, "reason": "curl 8.2"}
    with monkeypatch.context() as patch:
        cut_off(patch, step)
        with contextlib.suppress(OSError):
            run(tmp_path, **wanted)
    if kind == "relocked":  # the one or the other
        assert run(tmp_path, state="read")["lock"]["serial"] in (1, 2)
    run(tmp_path, check=True, **wanted)
    result = run(tmp_path, **wanted)
    assert result["lock"]["serial"] == (2 if kind == "relocked" else 1)
    assert run(tmp_path, **wanted, remembered=result["accepted"])["kind"] is None
    assert run(tmp_path, state="read")["lock"] == result["lock"]
    entries = [entry["kind"] for entry in ledger.read(str(tmp_path / "state"))]
    assert entries.count(f"lock-{kind}") == 1
    assert "box.lock.new.json" not in files(tmp_path)


def test_reading_finishes_only_what_the_ledger_names(tmp_path: Path) -> None:
    run(tmp_path)
    newer = lock_file(tmp_path).read_bytes().replace(b'"serial":1', b'"serial":2')
    (tmp_path / "state" / "box.lock.new.json").write_bytes(newer)
    assert run(tmp_path, state="read")["lock"]["serial"] == 1
