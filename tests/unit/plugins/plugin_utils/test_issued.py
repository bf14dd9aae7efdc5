# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate of a name is the one before."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils.issued import Issued, Register

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def issued(serial: int, day: int, revoked: str | None = None, name: str = "alice") -> Issued:
    known = {"kind": "client", "name": name, "serial": f"{serial:x}", "sha256": ""}
    return Issued.of({**known, "until": f"2026-12-{day:02}T00:00:00Z", "revoked": revoked})


@pytest.mark.parametrize(
    ("serial", "before"),
    [(None, 20), (30, 20), (20, 10), (10, None), (99, 30)],
    ids=["newest", "last", "interrupted", "first", "register from a backup"],
)
def test_what_is_before_goes_by_what_is_in_use(serial: int | None, before: int | None) -> None:
    register = Register([issued(10, 10), issued(20, 20), issued(11, 9, name="bob"), issued(30, 30)])
    found = register.before("client", "alice", NOW, serial)
    assert (found.serial if found else None) == before


def test_what_can_no_longer_be_shown_is_not_before() -> None:
    over = NOW.replace(month=12, day=5)
    register = Register([issued(1, 4), issued(2, 20, "2026-11-20T00:00:00Z"), issued(3, 30)])
    assert register.before("client", "alice", over) is None
    assert register.before("client", "nobody", over) is None
