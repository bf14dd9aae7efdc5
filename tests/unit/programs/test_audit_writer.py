# SPDX-License-Identifier: GPL-3.0-or-later
"""What the writer of the audit trail decides by itself: who gets a line, and which texts are kept."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import audit_chain, audit_key

from .conftest import ROOT

Load = Callable[[str], ModuleType]


@pytest.fixture(autouse=True)
def _its_own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "roles/audit/files/audit"))


def refused(client: str | None, reason: str = "no_key", status: int = 401) -> dict[str, Any]:
    return {
        "kind": "done",
        "id": "x",
        "key": None,
        "client": client,
        "status": status,
        "reason": reason,
    }


@pytest.fixture
def counts(load: Load) -> ModuleType:
    return load("roles/audit/files/audit/counts.py")


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3::/64"),
        (None, "none"),
        ("x' OR 1", "none"),
    ],
)
def test_one_client_is_one_network(counts: ModuleType, client: str | None, network: str) -> None:
    assert counts.network_of(client) == network


def test_a_burst_has_lines_and_the_rest_is_counted_and_none_is_lost(counts: ModuleType) -> None:
    each = counts.Counts(10, 1000, now=0)
    lines = sum(each.admits(refused("10.1.2.3"), 0) for _again in range(100))
    [record] = each.drain()
    assert lines == 10
    assert record == {"kind": "counted", "client": "10.1.2.3", "requests": {"401 no_key": 90}}
    assert each.drain() == []
    assert sum(each.admits(refused("10.1.2.3"), 60) for _again in range(100)) == 1, (
        "a tenth is back"
    )
    assert sum(each.admits(refused("10.1.2.3"), 10**6) for _again in range(100)) == 10, "no more"


def test_many_clients_together_have_no_more_than_all(counts: ModuleType) -> None:
    each = counts.Counts(10, 50, now=0)
    lines = sum(each.admits(refused(f"10.{n // 250}.{n % 250}.1"), 0) for n in range(5000))
    records = each.drain()
    assert lines == 50
    assert len(records) <= 65, "bounded, whoever asks"
    assert sum(sum(record["requests"].values()) for record in records) == 4950
    assert sum(records[-1]["requests"].values()) > 1
    assert records[-1]["client"] == "others"


def test_made_up_reasons_do_not_fill_the_memory(counts: ModuleType) -> None:
    each = counts.Counts(0, 0, now=0)
    for number in range(1000):
        assert not each.admits(refused("10.1.2.3", f"reason {number}"), 0)
    [record] = each.drain()
    assert len(record["requests"]) <= 33
    assert sum(record["requests"].values()) == 1000


def test_what_goes_to_a_runtime_always_has_a_line(counts: ModuleType) -> None:
    each = counts.Counts(0, 0, now=0)
    assert each.admits({**refused("10.1.2.3"), "forwarded": True}, 0)
    assert each.admits({**refused("10.1.2.3"), "kind": "open"}, 0)
    assert not each.admits(refused("10.1.2.3"), 0)


def test_a_key_that_is_refused_is_counted_under_its_own_name(counts: ModuleType) -> None:
    each = counts.Counts(10, 1000, now=0)
    records = [{**refused(f"10.1.2.{n % 250}", "revoked_key"), "key": "alice"} for n in range(1000)]
    assert sum(each.admits(record, 0) for record in records) == 10
    assert each.drain() == [
        {"kind": "counted", "key": "alice", "requests": {"401 revoked_key": 990}}
    ]


def test_strangers_take_no_lines_of_keys(counts: ModuleType) -> None:
    each = counts.Counts(10, 20, now=0)
    for number in range(1000):
        each.admits(refused(f"10.2.{number // 250}.{number % 250}"), 0)
    assert each.admits({**refused("10.1.2.3", "expired_key"), "key": "alice"}, 0)
    lines = sum(each.admits({**refused(None), "key": f"key{n}"}, 0) for n in range(1000))
    assert lines == 19, "and all keys together have no more than all"
    assert [record for record in each.drain() if record.get("key") == "others"]


def test_what_could_not_be_written_is_counted_again(counts: ModuleType) -> None:
    each = counts.Counts(0, 0, now=0)
    each.admits(refused("10.1.2.3"), 0)
    for record in (refused("fd00::1"), {**refused(None), "key": "alice"}):
        each.admits(record, 0)
    records = each.drain()
    each.admits(refused("10.1.2.3"), 0)
    each.put_back(records)
    again = {record.get("client") or record["key"]: record["requests"] for record in each.drain()}
    assert again == {
        "10.1.2.3": {"401 no_key": 2},
        "fd00::/64": {"401 no_key": 1},
        "alice": {"401 no_key": 1},
    }


def test_texts_that_were_made_for_another_policy_are_not_kept(load: Load, tmp_path: Path) -> None:
    content = load("roles/audit/files/audit/content.py").Content
    for made in ("full", "redacted", None):
        for policy in ("digest", "redacted", "full"):
            content(tmp_path, policy).keep({"id": f"{made} {policy}", "policy": made})
    [file] = tmp_path.iterdir()
    kept = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert kept == ["full full", "redacted redacted"]


def text_of(size: int) -> dict[str, Any]:
    return {"id": "x", "policy": "full", "prompt": "x" * size, "response": ""}


def test_texts_leave_twice_the_room_that_the_trail_leaves_and_say_so_once(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reserve = 10_000
    disk = SimpleNamespace(f_blocks=20 * reserve, f_frsize=1, f_bavail=0)
    for name in ("statvfs", "fstatvfs"):
        monkeypatch.setattr(os, name, lambda _where: disk)
    content = load("roles/audit/files/audit/content.py").Content(tmp_path, "full")

    def kept(free: int, size: int = 1000) -> bool:
        disk.f_bavail = free
        before = [file.stat().st_size for file in tmp_path.iterdir()]
        content.keep(text_of(size))
        return [file.stat().st_size for file in tmp_path.iterdir()] != before

    assert not kept(2 * reserve)
    assert [*tmp_path.iterdir()] == []
    assert not kept(reserve // 2)
    assert kept(2 * reserve + 1500)
    assert not kept(2 * reserve + 1500, 2000)
    assert capsys.readouterr().err.count("texts are not kept") == 1
    assert kept(3 * reserve)
    assert not kept(2 * reserve)
    assert capsys.readouterr().err.count("texts are not kept") == 1


def test_where_texts_have_no_room_the_trail_has(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(f_blocks=200_000, f_frsize=1, f_bavail=15_000)
    for name in ("statvfs", "fstatvfs"):
        monkeypatch.setattr(os, name, lambda _where: disk)
    audit_key.begin(str(tmp_path / "key"), audit_key.Held("00" * 8, 1, bytes(32)))
    for name in ("trail", "content"):
        (tmp_path / name).mkdir()
    trail = load("roles/audit/files/audit/trail.py").Trail(
        tmp_path / "trail", tmp_path / "key", segment_bytes=2**20, keep_days=1, keep_bytes=2**40
    )
    load("roles/audit/files/audit/content.py").Content(tmp_path / "content", "full").keep(
        text_of(10)
    )
    trail.append([{"kind": "done", "id": "x"}])
    trail.close()
    assert [*(tmp_path / "content").iterdir()] == []
    assert len((tmp_path / "trail/audit.jsonl").read_bytes().splitlines()) == 2


def test_a_text_that_fits_only_in_part_leaves_nothing(load: Load, tmp_path: Path) -> None:
    content = load("roles/audit/files/audit/content.py").Content(tmp_path, "full")
    content.keep(text_of(10))
    [file] = tmp_path.iterdir()
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(OSError, match="full"):
            content.keep(text_of(2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    content.keep(text_of(10))
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 2


@pytest.mark.parametrize(
    ("allowed", "old", "gone"),
    [
        (99, 0, ""),
        (4, 0, ""),
        (3, 0, "s"),
        (1, 0, "sss"),
        (0, 0, "sss"),
        (99, 2, "a"),
        (99, 4, "aaa"),
        (2, 2, "as"),
    ],
)
def test_segments_go_that_are_too_much_or_too_old_and_no_other(
    load: Load, tmp_path: Path, allowed: int, old: int, gone: str
) -> None:
    """Of four segments of a size ``allowed`` fit, and ``old`` are; the newest stays, for it shows how old they were."""
    audit_key.begin(str(tmp_path / "key"), audit_key.Held("00" * 8, 1, bytes(32)))
    files = tmp_path / "trail"
    files.mkdir()
    make = load("roles/audit/files/audit/trail.py").Trail
    roomy = {"segment_bytes": 2**20, "keep_days": 1, "keep_bytes": 2**40}
    writer = make(files, tmp_path / "key", **roomy)
    writer.close()
    for segment in range(4):
        file = files / f"audit-{segment + 1:012}.jsonl"
        file.write_bytes((files / "audit.jsonl").read_bytes())
        when = time.time() - (2 * 86_400 if segment < old else 0)
        os.utime(file, (when, when))
    size = (files / "audit.jsonl").stat().st_size
    writer = make(files, tmp_path / "key", **{**roomy, "keep_bytes": allowed * size})
    writer.expire()
    writer.close()
    records = map(audit_chain.parse, (files / "audit.jsonl").read_bytes().splitlines())
    said = [(each["first"], each["why"][0]) for each in records if each["kind"] == "expired"]
    assert said == [*enumerate(gone, 1)]
    assert len([*files.glob("audit-*.jsonl")]) == 4 - len(gone)
