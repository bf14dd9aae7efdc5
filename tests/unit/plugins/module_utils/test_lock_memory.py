# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import lock_memory
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.lock_memory import Place

KEY, OTHER_KEY = "a" * 64, "b" * 64
DIGEST, OTHER_DIGEST = "c" * 64, "d" * 64
REMEMBERED = Place(KEY, "one", 3, DIGEST)
OF_OLD = Place(KEY, "one", 3)


def test_what_a_host_remembers_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    assert lock_memory.read(str(path)) is None
    path.write_text('{"key": "' + KEY + '", "lineage": "one", "serial": 3}\n')
    assert lock_memory.read(str(path)) == OF_OLD
    for place in (OF_OLD, REMEMBERED):
        assert lock_memory.parse(place.document(), "x") == place


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {**REMEMBERED.document(), "more": 1},
        {**REMEMBERED.document(), "serial": 0},
        {**REMEMBERED.document(), "serial": True},
        {**REMEMBERED.document(), "serial": "3"},
        {**REMEMBERED.document(), "lineage": "../x"},
        {**REMEMBERED.document(), "key": "a"},
        {**REMEMBERED.document(), "digest": "a"},
    ],
)
def test_a_memory_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(AirlockError):
        lock_memory.parse(value, "x")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (
            Place(KEY, "one", 2, DIGEST),
            "older than the one that the host has accepted: expected serial 3",
        ),
        (
            Place(KEY, "two", 9, DIGEST),
            "of another lineage than the one that the host has accepted",
        ),
        (
            Place(OTHER_KEY, "one", 3, DIGEST),
            "signed by another key than the one that the host has",
        ),
        (
            Place(KEY, "one", 3, OTHER_DIGEST),
            "of other content and the same serial as the one that the host has accepted",
        ),
        (None, "has accepted a lock that the site directory does not have"),
    ],
)
def test_a_lock_that_is_not_the_newest_is_refused(place: Place | None, sentence: str) -> None:
    assert sentence in str(lock_memory.objection(place, REMEMBERED, "lock.json"))


@pytest.mark.parametrize(
    ("place", "remembered"),
    [
        (REMEMBERED, REMEMBERED),
        (Place(KEY, "one", 4, OTHER_DIGEST), REMEMBERED),
        (Place(KEY, "one", 3, OTHER_DIGEST), OF_OLD),
        (Place(OTHER_KEY, "two", 1, DIGEST), None),
        (None, None),
    ],
)
def test_a_lock_that_may_be_the_newest_is_taken(
    place: Place | None, remembered: Place | None
) -> None:
    assert lock_memory.objection(place, remembered, "lock.json") is None


def test_the_ledger_has_the_newest() -> None:
    newer = Place(KEY, "one", 4, OTHER_DIGEST)
    found = lock_memory.objection(newer, REMEMBERED, "lock.json", ledger=True)
    assert "the lock is newer than the one that the ledger names" in str(found)
    assert lock_memory.objection(REMEMBERED, REMEMBERED, "lock.json", ledger=True) is None


@pytest.mark.parametrize(
    ("previous", "known", "expected"),
    [
        (None, (), ("fresh", 1)),
        ({"lineage": "one", "serial": 2}, (None, None), ("one", 3)),
        ({"lineage": "one", "serial": 2}, (REMEMBERED, None), ("one", 4)),
        ({"lineage": "one", "serial": 7}, (REMEMBERED, None), ("one", 8)),
        ({"lineage": "two", "serial": 7}, (REMEMBERED, None), ("one", 4)),
        ({"lineage": "two", "serial": 7}, (None, REMEMBERED), ("one", 4)),
        (None, (REMEMBERED, Place(KEY, "one", 5)), ("one", 6)),
        (None, (REMEMBERED, Place(KEY, "two", 5)), ("one", 4)),
    ],
)
def test_the_next_lock_comes_after_all_that_are_known(
    previous: dict[str, Any] | None, known: tuple[Place | None, ...], expected: tuple[str, int]
) -> None:
    assert lock_memory.next_place(known, previous, "fresh") == expected
