# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import lock_memory
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.lock_memory import Place

KEY, OTHER_KEY = "a" * 64, "b" * 64
REMEMBERED = Place(KEY, "one", 3)


def test_what_a_host_remembers_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    assert lock_memory.read(str(path)) is None
    path.write_text('{"key": "' + KEY + '", "lineage": "one", "serial": 3}\n')
    assert lock_memory.read(str(path)) == REMEMBERED
    assert lock_memory.parse(REMEMBERED.document(), "x") == REMEMBERED


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
    ],
)
def test_a_memory_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(AirlockError):
        lock_memory.parse(value, "x")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (Place(KEY, "one", 2), "older than the one that the host has accepted: expected serial 3"),
        (Place(KEY, "two", 9), "of another lineage than the one that the host has accepted"),
        (Place(OTHER_KEY, "one", 3), "signed by another key than the host has accepted"),
        (None, "has accepted a lock that the site directory does not have"),
    ],
)
def test_a_lock_that_is_not_the_newest_is_refused(place: Place | None, sentence: str) -> None:
    assert sentence in str(lock_memory.objection(place, REMEMBERED, "lock.json"))


@pytest.mark.parametrize(
    ("place", "remembered"),
    [
        (REMEMBERED, REMEMBERED),
        (Place(KEY, "one", 4), REMEMBERED),
        (Place(OTHER_KEY, "two", 1), None),
        (None, None),
    ],
)
def test_a_lock_that_may_be_the_newest_is_taken(
    place: Place | None, remembered: Place | None
) -> None:
    assert lock_memory.objection(place, remembered, "lock.json") is None


@pytest.mark.parametrize(
    ("previous", "remembered", "expected"),
    [
        (None, None, ("fresh", 1)),
        ({"lineage": "one", "serial": 2}, None, ("one", 3)),
        ({"lineage": "one", "serial": 2}, REMEMBERED, ("one", 4)),
        ({"lineage": "one", "serial": 7}, REMEMBERED, ("one", 8)),
        ({"lineage": "two", "serial": 7}, REMEMBERED, ("one", 4)),
        (None, REMEMBERED, ("one", 4)),
    ],
)
def test_the_next_lock_comes_after_all_that_are_known(
    previous: dict[str, Any] | None, remembered: Place | None, expected: tuple[str, int]
) -> None:
    assert lock_memory.next_place(previous, remembered, "fresh") == expected
