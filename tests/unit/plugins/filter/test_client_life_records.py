# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ansible_collections.homelab.airlock.plugins.filter.client_life_records import (
    client_life_records,
)

NOW = datetime(2026, 11, 21, 12)


def issued(name: str, days: int, revoked: str | None = None) -> dict[str, Any]:
    until = f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    known = {"kind": "client", "name": name, "serial": f"{days & 0xFF:x}", "sha256": ""}
    return {**known, "until": until, "revoked": revoked}


def judged(entries: list[dict[str, Any]], *waiting: str) -> list[tuple[bool, bool]]:
    """Return of each record whether it holds, and whether it is waived."""
    found = client_life_records(entries, "PKI-03", list(waiting), 360, NOW)
    return [(record["holds"], "waiver" in record) for record in found]


def test_who_still_shows_the_certificate_of_before_is_amber_before_it_ends() -> None:
    assert judged([issued("alice", 45), issued("alice", 90)], "alice") == [(True, False)]
    assert judged([issued("alice", 14), issued("alice", 60)], "alice") == [(False, True)]


def test_nobody_waits_for_what_was_handed_over_is_over_was_revoked_or_is_alone() -> None:
    assert judged([issued("alice", 14), issued("alice", 60)]) == []
    assert judged([issued("alice", -1), issued("alice", 40)], "alice") == []
    assert judged([issued("alice", 14, "2026-11-20T00:00:00Z"), issued("alice", 60)], "alice") == []
    assert judged([issued("alice", 14), issued("bob", 60)], "alice", "bob") == []
