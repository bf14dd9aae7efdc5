# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from ansible_collections.homelab.airlock.plugins.plugin_utils.fresh_connection import fresh, is_ssh


@pytest.mark.parametrize(("name", "proves"), [("ssh", True), ("local", False), ("psrp", False)])
def test_only_ssh_proves_something(name: str, proves: bool) -> None:
    assert is_ssh(connection_loader.get(name, PlayContext())) is proves


def test_nothing_that_is_open_can_carry_a_fresh_connection() -> None:
    kept = connection_loader.get("ssh", PlayContext())
    persist = "-o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/kept"
    kept.set_options(
        direct={"host": "old", "ssh_args": persist, "port": 2200, "remote_user": "admin"}
    )
    words = [
        word.decode()
        for word in fresh(kept, PlayContext(), "new")._build_command(b"ssh", "ssh", "new")
    ]
    given = [word for word in words if word.startswith(("ControlMaster", "ControlPath"))]
    # ssh takes the first.
    assert given[:2] == ["ControlMaster=no", "ControlPath=none"]
    assert {"Port=2200", 'User="admin"'} <= set(words)
    assert kept.get_option("host") == "old"
    assert kept.get_option("ssh_args") == persist
