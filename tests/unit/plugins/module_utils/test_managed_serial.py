# SPDX-License-Identifier: GPL-3.0-or-later
"""Of two runs the one that looked later wins, whichever is faster: a host goes back to no older content."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import Plan
from ansible_collections.homelab.airlock.plugins.module_utils.managed_specs import File, Outcome

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


def place(
    base: Path, serial: int | None, content: bytes = b"", series: str = "", *, check: bool = False
) -> Outcome:
    files = [
        File(str(base / "first"), content, owner=OWNER, group=GROUP),
        File(str(base / "keys"), content, 0o644, OWNER, GROUP, serial=serial, series=series),
    ]
    plan = Plan("demo", files=files)
    return plan.carry_out(
        lambda _command: (0, ""), check=check, record_path=str(base / "state/own")
    )


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("kept", ["there", "removed by hand"])
def test_an_older_one_is_refused_before_anything_is_touched(
    tmp_path: Path, kept: str, *, check: bool
) -> None:
    place(tmp_path, 6, b"revoked")
    if kept != "there":
        (tmp_path / "keys").unlink()
    with pytest.raises(AirlockError, match="number 6 or later, found 5"):
        place(tmp_path, 5, b"good", check=check)
    assert (tmp_path / "first").read_bytes() == b"revoked"
    assert not (tmp_path / "keys").exists() or (tmp_path / "keys").read_bytes() == b"revoked"


def test_the_same_and_later_ones_are_placed(tmp_path: Path) -> None:
    for serial, content in ((6, b"a"), (6, b"b"), (6, b"b"), (7, b"b"), (9, b"c")):
        place(tmp_path, serial, content)
        assert (tmp_path / "keys").read_bytes() == content
    with pytest.raises(AirlockError, match="number 9 or later, found 8"):
        place(tmp_path, 8)


def test_a_number_counts_although_the_content_is_what_was_there(tmp_path: Path) -> None:
    place(tmp_path, 6, b"a")
    assert place(tmp_path, 7, b"a").changed_paths == []
    with pytest.raises(AirlockError, match="number 7 or later, found 6"):
        place(tmp_path, 6)


def test_another_series_begins_anew(tmp_path: Path) -> None:
    """Such as the lists of another authority."""
    place(tmp_path, 6, b"a", "CN=old")
    place(tmp_path, 1, b"b", "CN=new")
    with pytest.raises(AirlockError, match="number 1 or later, found 0"):
        place(tmp_path, 0, b"c", "CN=new")


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    place(tmp_path, 6)
    record = str(tmp_path / "state/own")
    Plan("demo", "absent").carry_out(lambda _command: (0, ""), check=False, record_path=record)
    place(tmp_path, 1)
