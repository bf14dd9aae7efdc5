# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody brings to the host by hand is drift, and a plain run never takes it into the lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from .conftest import Play

STRAY = "/etc/left-behind-by-hand"
PACKAGE = "brought-by-hand"
CONTROL = (
    f"Package: {PACKAGE}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody\nDescription: x\n"
)


@pytest.fixture
def by_hand(inference: Host) -> Iterator[None]:
    """Leave a file and a package on the host."""
    work = "/run/by-hand"
    inference.check_output("mkdir -p %s/DEBIAN && touch %s", work, STRAY)
    inference.check_output("printf %s >%s/DEBIAN/control", CONTROL, work)
    inference.check_output("dpkg-deb --build %s /run/by-hand.deb && dpkg -i /run/by-hand.deb", work)
    yield
    inference.check_output("dpkg --purge %s && rm -r %s /run/by-hand.deb %s", PACKAGE, work, STRAY)


def test_what_is_brought_by_hand_is_drift_and_never_locked(
    play: Play, site: Path, by_hand: None
) -> None:
    lock = site / "state" / "inference.lock.json"
    before = lock.read_bytes()
    done = play("site", {})
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert f"file {STRAY}" in said
    assert f"package {PACKAGE}" in said
    assert lock.read_bytes() == before


def test_and_what_is_taken_away_again_is_none(play: Play) -> None:
    done = play("site", {})
    assert done.returncode == 0, done.stdout
    assert "DRIFT" not in done.stdout
