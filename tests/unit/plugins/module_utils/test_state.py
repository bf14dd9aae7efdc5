# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, state
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

DIGEST = "ab" * 32


def observation(**areas: Any) -> dict[str, Any]:
    return {"state": areas, "coverage": {"covered": sorted(areas), "not_covered": {}}}


def lock(previous: dict[str, Any] | None = None, **areas: Any) -> dict[str, Any]:
    return state.create(
        "box",
        observation(**areas),
        {},
        DIGEST,
        lineage="one",
        serial=previous["serial"] + 1 if previous else 1,
        previous=previous,
    )


@pytest.mark.parametrize(
    ("locked", "observed", "sentence"),
    [
        (
            {"packages": {}},
            {"packages": {"cowsay": {"version": "3.03", "arch": "all", "hold": False}}},
            "package cowsay: not in the lock, now here (version 3.03)",
        ),
        (
            {"users": {"mallory": {"uid": "1001"}}},
            {"users": {}},
            "user mallory: in the lock (uid 1001), now gone",
        ),
        (
            {"files": {"/etc/issue": {"mode": "0644", "sha256": DIGEST}}},
            {"files": {"/etc/issue": {"mode": "0600", "sha256": None}}},
            "file /etc/issue: mode was 0644, is 0600; content was abababababab…, is not recorded",
        ),
        (
            {"sysctl": {"net.ipv4.ip_forward": "0"}},
            {"sysctl": {"net.ipv4.ip_forward": "1"}},
            "kernel setting net.ipv4.ip_forward: was 0, is 1",
        ),
        (
            {"groups": {"sudo": {"members": []}}},
            {"groups": {"sudo": {"members": ["mallory"]}}},
            "group sudo: members was nothing, is mallory",
        ),
        (
            {"files": {}},
            {"files": {"/etc/a\nb\x1b[31m": {"type": "file"}}},
            "file '/etc/a\\nb\\x1b[31m': not in the lock, now here (type file)",
        ),
    ],
)
def test_each_difference_is_one_sentence(
    locked: dict[str, Any], observed: dict[str, Any], sentence: str
) -> None:
    assert [difference.sentence for difference in state.diff(locked, observed)] == [sentence]


def test_an_area_that_is_new_or_gone_is_a_difference() -> None:
    assert [found.kind for found in state.diff({}, {"models": {"sha256-1": {"size": 1}}})] == [
        "added"
    ]
    assert [found.kind for found in state.diff({"models": {"sha256-1": {"size": 1}}}, {})] == [
        "removed"
    ]


areas = st.dictionaries(
    st.sampled_from(["files", "packages", "units"]),
    st.dictionaries(
        st.text(max_size=4), st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)), max_size=4
    ),
)


@given(areas, areas)
def test_equal_states_and_only_they_have_no_difference(one: Any, other: Any) -> None:
    def filled(value: dict[str, Any]) -> dict[str, Any]:
        return {area: items for area, items in value.items() if items}

    assert (state.diff(one, other) == []) == (filled(one) == filled(other))


def test_the_chain_of_locks() -> None:
    first = lock(packages={})
    second = lock(first, packages={"curl": {"version": "1"}})
    assert (first["serial"], first["previous"]) == (1, None)
    assert (second["serial"], second["lineage"]) == (2, "one")
    assert second["previous"] == state.digest(first)


def test_a_lock_survives_its_file() -> None:
    made = lock(packages={"curl": {"version": "1"}})
    assert state.parse(canonical.dumps(made), host="box", where="box.lock.json") == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"host": "other"}, "belongs to another host: expected box, found other"),
        ({"version": 2}, "not a lock that this version can read"),
        ({"state": {"packages": {}}}, "does not have the digest that the lock names"),
        ({"more": 1}, "not a lock that this version can read"),
    ],
)
def test_a_lock_that_was_tampered_with_is_refused(change: dict[str, Any], message: str) -> None:
    made = {**lock(packages={"curl": {"version": "1"}}), **change}
    with pytest.raises(AirlockError, match=message):
        state.parse(canonical.dumps(made), host="box", where="box.lock.json")


RELEASE = {
    "service": "chat",
    "release": "chat-1a2b3c4d",
    "model": "smol",
    "manifest_sha256": DIGEST,
    "artifact": {"name": "engine-1", "sha256": DIGEST},
}


def test_what_an_intent_resolves_to() -> None:
    assert state.resolve([RELEASE]) == {
        "services": {"chat": "chat-1a2b3c4d"},
        "models": {"smol": DIGEST},
        "artifacts": {"engine-1": DIGEST},
    }


def test_obstacles_of_a_rebuild() -> None:
    platform = {"distribution": "debian", "release": "13", "arch": "x86_64"}
    made = state.create(
        "box",
        observation(platform=platform, packages={}),
        state.resolve([RELEASE]),
        DIGEST,
        lineage="one",
    )
    assert (
        state.obstacles(made, {"platform": platform, "packages": {"x": {}}}, made["resolved"]) == []
    )
    older = {"platform": {**platform, "release": "12"}}
    other = state.resolve([{**RELEASE, "release": "chat-ffffffff"}])
    assert [found.sentence for found in state.obstacles(made, older, other)] == [
        "platform release: was 13, is 12",
        "service chat: was chat-1a2b3c4d, is chat-ffffffff",
    ]
