# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys
from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import Wanted, converge
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
ALICE = {"alice": Wanted(("chat",), 30)}
BOTH = {**ALICE, "bob": Wanted(("chat", "embed"), 5)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "keys"


def key_of(site: Path, key_id: str) -> str:
    return (site / f"{key_id}.key").read_text().strip()


def test_new_keys_open_what_they_say_and_nobody_else_reads_them(site: Path) -> None:
    result = converge(str(site), BOTH, NOW)
    assert [record.id for record in result.records] == ["alice", "bob"]
    records = {record.id: record for record in result.records}
    for key_id in BOTH:
        assert api_keys.verify(key_of(site, key_id), records, NOW).state == api_keys.OK
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in site.iterdir()} == {0o600}


def test_a_second_run_changes_nothing(site: Path) -> None:
    first = converge(str(site), BOTH, NOW)
    before = {path.name: path.stat().st_ino for path in site.iterdir()}
    second = converge(str(site), BOTH, NOW + timedelta(days=4))
    assert second.reasons == []
    assert second.records == first.records
    assert {path.name: path.stat().st_ino for path in site.iterdir()} == before


def test_check_mode_writes_nothing_and_predicts(site: Path) -> None:
    predicted = converge(str(site), BOTH, NOW, check=True)
    assert not site.exists()
    real = converge(str(site), BOTH, NOW)
    assert predicted.reasons == real.reasons
    assert [r.services for r in predicted.records] == [r.services for r in real.records]


def test_other_services_or_days_keep_the_key(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    key = key_of(site, "alice")
    result = converge(str(site), {"alice": Wanted(("embed",), 60)}, NOW + timedelta(days=1))
    assert result.reasons == ["alice: services or lifetime differ, the key stays"]
    assert key_of(site, "alice") == key
    assert result.records[0].not_after == "2027-01-20T12:00:00Z"
    assert converge(str(site), {"alice": Wanted(("embed",), 60)}, NOW).reasons == []


@pytest.mark.parametrize("wanted", [ALICE, {"alice": Wanted(("chat",), 29)}])
def test_an_expired_key_is_replaced_and_said_so(site: Path, wanted: dict[str, Wanted]) -> None:
    converge(str(site), ALICE, NOW)
    key = key_of(site, "alice")
    result = converge(str(site), wanted, NOW + timedelta(days=30))
    assert "expired at 2026-12-" in result.reasons[0]
    assert key_of(site, "alice") != key


def test_a_key_that_is_no_longer_wanted_does_not_come_back(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    key = key_of(site, "bob")
    (site / "notes.txt").write_text("the owner's")
    result = converge(str(site), ALICE, NOW)
    assert result.reasons == [
        "bob.json: the key is no longer wanted",
        "bob.key: the key is no longer wanted",
    ]
    assert sorted(path.name for path in site.iterdir()) == ["alice.json", "alice.key", "notes.txt"]
    converge(str(site), BOTH, NOW)
    assert key_of(site, "bob") != key


@pytest.mark.parametrize("name", ["alice.key", "alice.json"])
def test_half_a_key_is_made_again(site: Path, name: str) -> None:
    converge(str(site), ALICE, NOW)
    (site / name).unlink()
    result = converge(str(site), ALICE, NOW)
    assert result.reasons == [f"alice: {name} is missing, a new key is made"]
    assert api_keys.matches(key_of(site, "alice"), result.records[0])


def test_a_key_that_does_not_fit_its_record_is_refused(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    os.replace(site / "bob.key", site / "alice.key")
    with pytest.raises(AirlockError, match="do not belong together"):
        converge(str(site), BOTH, NOW)


def test_wide_modes_are_narrowed_again(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    (site / "alice.key").chmod(0o644)
    site.chmod(0o755)
    result = converge(str(site), ALICE, NOW)
    assert len(result.reasons) == 2
    assert stat.S_IMODE((site / "alice.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.stat().st_mode) == 0o700


def test_a_link_in_the_place_of_a_key_is_refused(site: Path, tmp_path: Path) -> None:
    converge(str(site), ALICE, NOW)
    os.replace(site / "alice.key", tmp_path / "elsewhere")
    (site / "alice.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AirlockError, match="in the way"):
        converge(str(site), ALICE, NOW)
