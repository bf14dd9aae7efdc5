# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    api_key_files,
    api_keys,
    key_serial,
    placed_keys,
)
from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import (
    Orders,
    Wanted,
    converge,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Scope

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
ALICE = {"alice": Wanted(Scope(("chat",)), 30)}
BOTH = {**ALICE, "bob": Wanted(Scope(("chat", "embed")), 5)}


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
    assert [r.scope for r in predicted.records] == [r.scope for r in real.records]


def test_other_services_or_days_keep_the_key(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    key = key_of(site, "alice")
    result = converge(str(site), {"alice": Wanted(Scope(("embed",)), 60)}, NOW + timedelta(days=1))
    assert result.reasons == ["alice: scope, lifetime or overlap differ, the key stays"]
    assert key_of(site, "alice") == key
    assert result.records[0].not_after == "2027-01-20T12:00:00Z"
    assert converge(str(site), {"alice": Wanted(Scope(("embed",)), 60)}, NOW).reasons == []


@pytest.mark.parametrize("wanted", [ALICE, {"alice": Wanted(Scope(("chat",)), 29)}])
def test_an_expired_key_is_replaced_and_said_so(site: Path, wanted: dict[str, Wanted]) -> None:
    converge(str(site), ALICE, NOW)
    key = key_of(site, "alice")
    result = converge(str(site), wanted, NOW + timedelta(days=30))
    assert "expired at 2026-12-" in result.reasons[0]
    assert key_of(site, "alice") != key


@pytest.mark.parametrize("orders", [Orders(), Orders(frozenset({"alice"}), overlap=timedelta(1))])
def test_a_longer_life_brings_no_expired_key_back(site: Path, orders: Orders) -> None:
    converge(str(site), ALICE, NOW)
    key = key_of(site, "alice")
    longer = {"alice": Wanted(Scope(("chat",)), 366)}
    later = NOW + timedelta(days=200)
    result = converge(str(site), longer, later, orders=orders)
    assert result.reasons == ["alice: the key expired at 2026-12-21T12:00:00Z and is replaced"]
    records = {record.id: record for record in result.records}
    assert api_keys.verify(key, records, later).state == api_keys.UNKNOWN
    assert api_keys.verify(key_of(site, "alice"), records, later).state == api_keys.OK


def test_a_key_that_is_no_longer_wanted_does_not_come_back(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    key = key_of(site, "bob")
    (site / "notes.txt").write_text("the owner's")
    result = converge(str(site), ALICE, NOW)
    assert result.reasons == [
        "bob.json: the key is no longer wanted",
        "bob.key: the key is no longer wanted",
    ]
    assert sorted(path.name for path in site.iterdir()) == [
        "alice.json",
        "alice.key",
        "notes.txt",
        "serial",
    ]
    converge(str(site), BOTH, NOW)
    assert key_of(site, "bob") != key


def test_a_key_without_a_record_is_made_again(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    (site / "alice.json").unlink()
    result = converge(str(site), ALICE, NOW)
    assert result.reasons == ["alice: alice.json is missing, a new key is made"]
    assert api_keys.matches(key_of(site, "alice"), result.records[0])


def test_a_key_that_only_its_holder_has_stays_good(site: Path) -> None:
    records = converge(str(site), ALICE, NOW).records
    handed_over = key_of(site, "alice")
    (site / "alice.key").unlink()
    again = converge(str(site), ALICE, NOW + timedelta(days=1))
    assert (again.reasons, again.records) == ([], records)
    assert not (site / "alice.key").exists()
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    (record,) = converge(str(site), ALICE, NOW, orders=rotate).records
    for key in (handed_over, key_of(site, "alice")):
        assert api_keys.verify(key, {"alice": record}, NOW).state == api_keys.OK


def test_a_rotation_that_is_repeated_ends_no_key(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    first = key_of(site, "alice")
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    records = converge(str(site), ALICE, NOW, orders=rotate).records
    second = key_of(site, "alice")
    again = converge(str(site), ALICE, NOW + timedelta(minutes=1), orders=rotate)
    assert (again.reasons, again.records) == ([], records)
    (said,) = again.unchanged
    assert said.startswith(
        "alice: the key was rotated already, and the one before it is good until"
    )
    assert "2026-11-21T14:00:00Z" in said
    insisted = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2), again=True)
    (record,) = converge(str(site), ALICE, NOW, orders=insisted).records
    states = [
        api_keys.verify(key, {"alice": record}, NOW).state
        for key in (first, second, key_of(site, "alice"))
    ]
    assert states == [api_keys.UNKNOWN, api_keys.OK, api_keys.OK]
    later = converge(str(site), ALICE, NOW + timedelta(hours=3), orders=rotate)
    assert later.unchanged == []  # that overlap is over


DUE = Orders(renew=True)


def states(site: Path, keys: list[str], record: api_keys.KeyRecord, days: float) -> list[str]:
    now = NOW + timedelta(days=days)
    return [api_keys.verify(key, {"alice": record}, now).state for key in keys]


def test_a_key_is_renewed_after_half_of_its_life_and_the_one_before_lives_on(site: Path) -> None:
    made = converge(str(site), ALICE, NOW, orders=DUE).records
    old = key_of(site, "alice")
    early = converge(str(site), ALICE, NOW + timedelta(days=14.9), orders=DUE)
    assert (early.reasons, early.records) == ([], made)
    half = NOW + timedelta(days=15)
    assert converge(str(site), ALICE, half).reasons == []  # nobody asked for it
    predicted = converge(str(site), ALICE, half, orders=DUE, check=True)
    assert key_of(site, "alice") == old
    result = converge(str(site), ALICE, half, orders=DUE)
    assert predicted.reasons == result.reasons
    assert result.reasons == [
        "alice: the key has lived half of its life and is renewed, the one before it is good until "
        "2026-12-21T12:00:00Z"
    ]
    (record,) = result.records
    new = key_of(site, "alice")
    assert record.not_after == "2027-01-05T12:00:00Z"
    assert states(site, [old, new], record, 29.99) == [api_keys.OK, api_keys.OK]
    assert states(site, [old, new], record, 30) == [api_keys.EXPIRED, api_keys.OK]


@pytest.mark.parametrize("first", [15, 20, 29.5])
def test_a_key_is_renewed_once_for_each_overlap_and_never_too_late(
    site: Path, first: float
) -> None:
    converge(str(site), ALICE, NOW)
    made = converge(str(site), ALICE, NOW + timedelta(days=first), orders=DUE)
    again = converge(str(site), ALICE, NOW + timedelta(days=first, seconds=1), orders=DUE)
    assert (again.reasons, again.records) == ([], made.records)
    late = converge(str(site), ALICE, NOW + timedelta(days=29.9), orders=DUE)
    assert late.records == made.records
    renewed = converge(str(site), ALICE, NOW + timedelta(days=first + 15), orders=DUE)
    assert "is renewed" in renewed.reasons[0]


def test_a_renewal_waits_for_the_end_of_an_overlap(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    orders = Orders(rotate=frozenset({"alice"}), overlap=timedelta(days=20))
    made = converge(str(site), ALICE, NOW, orders=orders).records
    half = converge(str(site), ALICE, NOW + timedelta(days=16), orders=DUE)
    assert (half.reasons, half.records) == ([], made)
    over = converge(str(site), ALICE, NOW + timedelta(days=20), orders=DUE)
    assert "is renewed" in over.reasons[0]


def test_a_shorter_life_ends_the_overlap_in_time_for_the_next_renewal(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    old = key_of(site, "alice")
    converge(str(site), ALICE, NOW + timedelta(days=15), orders=DUE)
    new, shorter = key_of(site, "alice"), {"alice": Wanted(Scope(("chat",)), 6)}
    (record,) = converge(str(site), shorter, NOW + timedelta(days=16), orders=DUE).records
    assert record.retiring is not None and record.retiring.until == "2026-12-09T12:00:00Z"
    assert states(site, [old, new], record, 17.9) == [api_keys.OK, api_keys.OK]
    assert states(site, [old, new], record, 18) == [api_keys.EXPIRED, api_keys.OK]
    again = converge(str(site), shorter, NOW + timedelta(days=17), orders=DUE)
    assert (again.reasons, again.records) == ([], [record])
    (renewed,) = converge(str(site), shorter, NOW + timedelta(days=18), orders=DUE).records
    assert renewed.retiring is not None and renewed.retiring.until == record.not_after
    assert states(site, [new, key_of(site, "alice")], renewed, 19) == [api_keys.OK] * 2


def test_a_life_that_is_shortened_late_leaves_time_to_both(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    old = key_of(site, "alice")
    converge(str(site), ALICE, NOW + timedelta(days=15), orders=DUE)
    new, shorter = key_of(site, "alice"), {"alice": Wanted(Scope(("chat",)), 6)}
    orders = Orders(renew=True, overlap=timedelta(days=1))
    late = converge(str(site), shorter, NOW + timedelta(days=20), orders=orders)
    until = "2026-12-12T00:00:00Z"  # half of the day that is left
    assert (
        late.reasons[0]
        == f"alice: it lives shorter now, and the one before it is good until {until}"
    )
    (record,) = late.records
    assert states(site, [old, new], record, 20.4) == [api_keys.OK, api_keys.OK]
    assert states(site, [old, new], record, 20.5) == [api_keys.EXPIRED, api_keys.OK]
    again = converge(str(site), shorter, NOW + timedelta(days=20.4), orders=orders)
    assert (again.reasons, again.records) == ([], [record])
    (renewed,) = converge(str(site), shorter, NOW + timedelta(days=20.5), orders=orders).records
    assert states(site, [new, key_of(site, "alice")], renewed, 20.9) == [api_keys.OK] * 2


def test_an_order_to_rotate_keeps_its_own_overlap(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    orders = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2), renew=True)
    (record,) = converge(str(site), ALICE, NOW + timedelta(days=20), orders=orders).records
    assert record.retiring is not None and record.retiring.until == "2026-12-11T14:00:00Z"
    again = converge(str(site), ALICE, NOW + timedelta(days=20, hours=1), orders=orders)
    assert again.records == [record]
    assert "-e again=true" in again.unchanged[0]


def test_an_order_to_rotate_ends_the_overlap_of_a_renewal(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    first = key_of(site, "alice")
    later = NOW + timedelta(days=16)
    (renewed,) = converge(str(site), ALICE, later, orders=DUE).records
    orders = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    predicted = converge(str(site), ALICE, later, orders=orders, check=True)
    asked = converge(str(site), ALICE, later, orders=orders)
    assert asked == predicted
    (record,) = asked.records
    assert "waits to be handed over" in asked.reasons[0]
    assert record.sha256 == renewed.sha256  # nobody has it yet, so that it is other enough
    (known,) = converge(str(site), ALICE, later + timedelta(hours=1), orders=orders).records
    assert known == record
    judged = {"alice": record}
    assert api_keys.verify(first, judged, later + timedelta(hours=1)).state == api_keys.OK
    assert api_keys.verify(first, judged, later + timedelta(hours=3)).state == api_keys.EXPIRED


def test_an_order_to_rotate_replaces_a_renewed_key_that_was_handed_over(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    later = NOW + timedelta(days=16)
    (renewed,) = converge(str(site), ALICE, later, orders=DUE).records
    (site / "alice.key").unlink()
    orders = Orders(rotate=frozenset({"alice"}), overlap=timedelta(0))
    (record,) = converge(str(site), ALICE, later, orders=orders).records
    assert record.retiring is not None and record.retiring.sha256 == renewed.sha256
    assert key_of(site, "alice")


def test_what_is_gone_or_over_is_not_renewed(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    converge(str(site), BOTH, NOW, orders=Orders(revoke=frozenset({"alice"})))
    late = converge(str(site), BOTH, NOW + timedelta(days=20), orders=DUE)
    assert late.reasons == ["bob: the key expired at 2026-11-26T12:00:00Z and is replaced"]
    assert late.records[1].retiring is None


def test_a_key_that_only_its_holder_has_is_renewed_too(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    old = key_of(site, "alice")
    (site / "alice.key").unlink()
    (record,) = converge(str(site), ALICE, NOW + timedelta(days=20), orders=DUE).records
    assert states(site, [old, key_of(site, "alice")], record, 21) == [api_keys.OK, api_keys.OK]


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the power fail instead of step ``step`` of those that write, the first being 0."""
    taken = 0

    def failing(function: Any) -> Any:
        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken > step:
                raise OSError("power cut")
            return function(*args, **kwargs)

        return act

    write = failing(api_key_files.write_atomic)
    for module in (api_key_files, key_serial):
        monkeypatch.setattr(module, "write_atomic", write)
    monkeypatch.setattr(api_key_files.os, "replace", failing(os.replace))


@pytest.mark.parametrize("orders", ["none", "rotate", "revoke"])
@pytest.mark.parametrize("step", range(7))  # a file is written in two
@pytest.mark.parametrize("existed", [True, False])
def test_wherever_a_run_stops_the_next_one_finishes_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, step: int, orders: str, *, existed: bool
) -> None:
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    if existed:
        converge(str(site), ALICE, NOW)
    first = key_of(site, "alice") if existed else ""
    interrupt(monkeypatch, step)
    with pytest.raises(OSError, match="power cut"):
        converge(str(site), ALICE, NOW, orders=rotate)
    monkeypatch.undo()
    next_orders = {
        "none": Orders(),
        "rotate": rotate,
        "revoke": Orders(revoke=frozenset({"alice"})),
    }[orders]
    predicted = converge(str(site), ALICE, NOW, orders=next_orders, check=True)
    result = converge(str(site), ALICE, NOW, orders=next_orders)
    assert len(predicted.records) == len(result.records)
    assert predicted.unchanged == result.unchanged
    records = {record.id: record for record in result.records}
    if orders == "revoke":
        assert not list(site.glob("alice.key*"))
        assert api_keys.verify(first, records, NOW).state != api_keys.OK
        return
    assert sorted(path.name for path in site.iterdir()) == ["alice.json", "alice.key", "serial"]
    for key in filter(None, (first, key_of(site, "alice"))):
        assert api_keys.verify(key, records, NOW).state == api_keys.OK
    assert converge(str(site), ALICE, NOW).reasons == []


def test_a_key_that_waits_goes_with_the_one_that_is_no_longer_wanted(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    (site / "bob.key.next").write_text("aik_bob_x")
    converge(str(site), ALICE, NOW)
    assert sorted(path.name for path in site.iterdir()) == ["alice.json", "alice.key", "serial"]


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


def test_a_rotated_key_overlaps_with_the_one_before_it(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    old = key_of(site, "alice")
    orders = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    predicted = converge(str(site), BOTH, NOW, orders=orders, check=True)
    assert key_of(site, "alice") == old
    result = converge(str(site), BOTH, NOW, orders=orders)
    said = ["alice: the key is rotated, the one before it is good until 2026-11-21T14:00:00Z"]
    assert predicted.reasons == result.reasons == said
    records = {record.id: record for record in result.records}
    new = key_of(site, "alice")
    for key, hours, state in (
        (new, 0, api_keys.OK),
        (old, 0, api_keys.OK),
        (old, 1.99, api_keys.OK),
        (old, 2, api_keys.EXPIRED),
        (new, 2, api_keys.OK),
    ):
        assert api_keys.verify(key, records, NOW + timedelta(hours=hours)).state == state
    assert converge(str(site), BOTH, NOW + timedelta(hours=1)).reasons == []
    after = converge(str(site), BOTH, NOW + timedelta(hours=3))
    assert after.reasons == ["alice: scope, lifetime or overlap differ, the key stays"]
    assert after.records[0].retiring is None
    assert key_of(site, "alice") == new


def test_an_overlap_never_outlives_the_key_before_it(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    orders = Orders(rotate=frozenset({"bob"}), overlap=timedelta(days=9))
    record = converge(str(site), BOTH, NOW, orders=orders).records[1]
    assert record.retiring is not None
    assert (record.retiring.until, record.not_after) == (record.not_after, "2026-11-26T12:00:00Z")


def test_a_revoked_key_stays_revoked_until_it_is_rotated(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    old = key_of(site, "alice")
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    converge(str(site), BOTH, NOW, orders=rotate)
    middle = key_of(site, "alice")
    revoke = Orders(revoke=frozenset({"alice"}))
    converge(str(site), BOTH, NOW, orders=revoke, check=True)
    assert key_of(site, "alice") == middle
    result = converge(str(site), BOTH, NOW, orders=revoke)
    assert result.reasons == [
        "alice: the key is revoked",
        "alice: the file of a revoked key is removed",
    ]
    for orders in (revoke, Orders()):
        again = converge(str(site), BOTH, NOW + timedelta(days=1), orders=orders)
        assert (again.reasons, again.records) == ([], result.records)
    records = {record.id: record for record in result.records}
    assert api_keys.verify(middle, records, NOW).state == api_keys.REVOKED
    assert api_keys.verify(old, records, NOW).state == api_keys.UNKNOWN
    anew = converge(str(site), BOTH, NOW, orders=rotate).records[0]
    assert (anew.revoked, anew.retiring) == (None, None)
    assert api_keys.verify(key_of(site, "alice"), {"alice": anew}, NOW).state == api_keys.OK


def on_host(result: api_key_files.Result) -> str:
    """Return keys.json as a host has it and `slurp` returns it."""
    records = [record.as_dict() for record in result.records]
    document = {"serial": result.serial, "keys": records}
    return base64.b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    ("since", "why"),
    [
        ([Orders(revoke=frozenset({"alice"}))], "has it as revoked"),
        ([Orders(rotate=frozenset({"alice"}))], "has one that was made later"),
        (
            [Orders(rotate=frozenset({"alice"})), Orders(revoke=frozenset({"alice"}))],
            "has one that was made later",
        ),
    ],
    ids=["revoked", "rotated", "rotated and revoked"],
)
def test_a_directory_from_a_backup_lets_no_key_in_again(
    site: Path, since: list[Orders], why: str
) -> None:
    converge(str(site), BOTH, NOW)
    backup, old, bob = site.parent / "backup", key_of(site, "alice"), key_of(site, "bob")
    shutil.copytree(site, backup)
    later = NOW + timedelta(hours=1)
    for orders in since:
        result = converge(str(site), BOTH, later, orders=orders)
    placed = placed_keys.read({"inference": on_host(result), "new": "", "odd": "bm8="})
    assert [flaw.startswith("odd: keys.json") for flaw in placed.flaws] == [True]
    predicted = converge(str(backup), BOTH, later, placed=placed, check=True)
    restored = converge(str(backup), BOTH, later, placed=placed)
    assert restored.serial > result.serial  # or the host would refuse it
    assert restored.reasons[0].startswith(f"alice: inference {why}, so it is revoked here;")
    assert restored == predicted
    records = {record.id: record for record in restored.records}
    assert api_keys.verify(old, records, later).state == api_keys.REVOKED
    assert api_keys.verify(bob, records, later).state == api_keys.OK
    assert not (backup / "alice.key").exists()
    assert converge(str(backup), BOTH, later, placed=placed).reasons == []
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    anew = converge(str(backup), BOTH, later + timedelta(hours=1), placed=placed, orders=rotate)
    records = {record.id: record for record in anew.records}
    assert api_keys.verify(old, records, later).state == api_keys.UNKNOWN
    assert converge(str(backup), BOTH, later + timedelta(hours=2), placed=placed).reasons == []


def test_a_backup_from_before_a_renewal_revokes_nothing_that_is_still_taken(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    backup, old = site.parent / "backup", key_of(site, "alice")
    shutil.copytree(site, backup)
    later = NOW + timedelta(days=16)
    placed = placed_keys.read({"inference": on_host(converge(str(site), ALICE, later, orders=DUE))})
    restored = converge(str(backup), ALICE, later, placed=placed, orders=DUE)
    assert api_keys.verify(old, {"alice": restored.records[0]}, later).state == api_keys.OK
    over = later + timedelta(days=15)
    late = converge(str(backup), ALICE, over, placed=placed)
    assert api_keys.verify(old, {"alice": late.records[0]}, over).state != api_keys.OK


def test_a_host_that_is_behind_revokes_nothing(site: Path) -> None:
    first = converge(str(site), BOTH, NOW)
    behind = converge(str(site), BOTH, NOW, orders=Orders(revoke=frozenset({"bob"})), check=True)
    later = NOW + timedelta(hours=1)
    rotate = Orders(rotate=frozenset({"alice", "bob"}), overlap=timedelta(hours=2))
    converge(str(site), BOTH, later, orders=rotate)
    for result in (first, behind):
        placed = placed_keys.read({"inference": on_host(result)})
        assert converge(str(site), BOTH, later, placed=placed).reasons == []


def test_a_key_without_a_record_is_revoked_too(site: Path) -> None:
    converge(str(site), BOTH, NOW)
    (site / "alice.json").unlink()
    result = converge(str(site), BOTH, NOW, orders=Orders(revoke=frozenset({"alice"})))
    assert [record.id for record in result.records] == ["bob"]
    assert not (site / "alice.key").exists()


@pytest.mark.parametrize(
    ("orders", "sentence"),
    [
        (Orders(rotate=frozenset({"alcie"})), "no such key: expected alice or bob, found 'alcie'"),
        (Orders(frozenset({"bob"}), frozenset({"bob"})), "rotated and revoked at once"),
    ],
)
def test_orders_that_cannot_be_carried_out_change_nothing(
    site: Path, orders: Orders, sentence: str
) -> None:
    converge(str(site), BOTH, NOW)
    before = {path.name: path.stat().st_ino for path in site.iterdir()}
    with pytest.raises(AirlockError, match=sentence):
        converge(str(site), {**BOTH, "bob": Wanted(Scope(("embed",)), 5)}, NOW, orders=orders)
    assert {path.name: path.stat().st_ino for path in site.iterdir()} == before


def test_whatever_changes_the_records_has_a_number_of_its_own(site: Path) -> None:
    """By it the host tells which of two runs looked later."""
    rotate = Orders(rotate=frozenset({"alice"}), overlap=timedelta(hours=2))
    revoke = Orders(revoke=frozenset({"alice"}))
    unknown = Orders(revoke=frozenset({"bob"}))
    seen = []
    for wanted, orders in (
        (BOTH, Orders()),
        (BOTH, rotate),
        (BOTH, revoke),
        (BOTH, Orders()),
        ({**BOTH, "bob": Wanted(Scope(("chat",)), 5)}, Orders()),
        (ALICE, Orders()),
        (BOTH, unknown),
    ):
        predicted = converge(str(site), wanted, NOW, orders=orders, check=True).serial
        seen.append(converge(str(site), wanted, NOW, orders=orders).serial)
        assert predicted == seen[-1]
    assert seen == [1, 2, 3, 3, 4, 5, 6]


def test_the_number_is_there_before_what_it_stands_for(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converge(str(site), ALICE, NOW)
    revoke = Orders(revoke=frozenset({"alice"}))
    interrupt(monkeypatch, 2)  # of what is written the first file alone
    with pytest.raises(OSError, match="power cut"):
        converge(str(site), ALICE, NOW, orders=revoke)
    monkeypatch.undo()
    stopped = converge(str(site), ALICE, NOW)
    assert (stopped.records[0].revoked, stopped.serial) == (None, 2)
    assert converge(str(site), ALICE, NOW, orders=revoke).serial == 3


def test_runs_at_once_take_turns(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that read a record before it was revoked does not write it again afterwards."""
    converge(str(site), ALICE, NOW)
    reached, revoked = threading.Event(), threading.Event()
    other = {"alice": Wanted(Scope(("embed",)), 30)}
    write = api_key_files.write_atomic

    def slowly(path: str, *values: Any, **options: Any) -> None:
        reached.set()
        revoked.wait(1)  # the other run gets all the time that it needs, if it may
        write(path, *values, **options)

    monkeypatch.setattr(api_key_files, "write_atomic", slowly)
    first = threading.Thread(target=converge, args=(str(site), other, NOW))
    first.start()
    assert reached.wait(5)
    monkeypatch.setattr(api_key_files, "write_atomic", write)
    converge(str(site), other, NOW, orders=Orders(revoke=frozenset({"alice"})))
    revoked.set()
    first.join()
    assert converge(str(site), other, NOW).records[0].revoked


def test_a_number_that_is_none_is_refused(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    (site / "serial").write_text("many\n")
    with pytest.raises(AirlockError, match="serial: this is no number"):
        converge(str(site), ALICE, NOW)


def test_a_host_that_lies_about_its_number_does_not_use_them_up(site: Path) -> None:
    converge(str(site), ALICE, NOW)
    claims = placed_keys.Placed(serial=2**53 - 1)
    most = 1 + 2**20
    assert converge(str(site), ALICE, NOW, placed=claims).serial == most
    assert converge(str(site), ALICE, NOW, placed=placed_keys.Placed(serial=most)).serial == most
    near = placed_keys.Placed(serial=1000)
    assert converge(str(site), ALICE, NOW, placed=near).serial == 1000
