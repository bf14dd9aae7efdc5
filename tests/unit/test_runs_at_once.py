# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that looked before a revocation, and places what it saw after it, takes nothing back."""

from __future__ import annotations

import grp
import json
import os
import pwd
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.homelab.airlock.plugins.action.managed_files import ActionModule
from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import (
    Orders,
    Result,
    Wanted,
    converge,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Scope as Services
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import SPEC, Plan
from ansible_collections.homelab.airlock.plugins.plugin_utils import certificates
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import CLIENT, Authority
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
FILES = {
    "__gateway_keys_file": "roles/gateway/vars/main/main.yml",
    "__pki_authority_files": "roles/pki/vars/main.yml",
}
PLACED = {"keys": "keys.json", "certificates": "clients.crl"}


def look(site: Path, *, revoke: bool = False) -> Result:
    """Do what a run does first, on the controller; return the API keys."""
    with Authority.opened(site, NOW) as authority:
        authority.ensure(Scope.of(["ai.home.arpa"], []), 90)
        if revoke:
            authority.revoke(CLIENT, "alice", 90)
    orders = Orders(revoke=frozenset({"alice"} if revoke else ()))
    wanted = {"alice": Wanted(Services(("chat",)), 30)}
    return converge(str(site / "secrets/keys"), wanted, NOW, orders=orders)


def wanted_of(play: Play, site: Path, keys: Result, to: Path) -> dict[str, Any]:
    """Return the files that roles would place now, by name."""
    variables: dict[str, Any] = {}
    for path in FILES.values():
        variables |= yaml.safe_load((ROOT / path).read_text())
    records = [record.as_dict() for record in keys.records]
    text = {
        "content": "{{ [__gateway_keys_file] + __pki_authority_files }}",
        "dest": str(to),
        "mode": "0600",
    }
    done = play(
        vars={
            **variables,
            "airlock_site_dir": str(site),
            "__gateway_keys": {"records": records, "serial": keys.serial},
        },
        tasks=[{"ansible.builtin.copy": text}],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {Path(file["path"]).name: file for file in json.loads(to.read_text())}


def place(host: Path, file: dict[str, Any]) -> None:
    """Do what managed_files does with one file, on a host that lies in ``host``."""
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(check_mode=False)
    entry = action._resolve_file(dict(file), {})
    entry |= {
        "path": str(host / Path(file["path"]).name),
        "owner": pwd.getpwuid(os.getuid()).pw_name,
        "group": grp.getgrgid(os.getgid()).gr_name,
    }
    checked = ArgumentSpecValidator(SPEC).validate({"role": "demo", "files": [entry]})
    assert not checked.error_messages
    plan = Plan.of(checked.validated_parameters)
    plan.carry_out(lambda _command: (0, ""), check=False, record_path=str(host / "state/own"))


@pytest.mark.parametrize("what", PLACED)
def test_a_run_that_looked_before_a_revocation_takes_nothing_back(
    play: Play, tmp_path: Path, what: str
) -> None:
    site, host, name = tmp_path / "site", tmp_path / "host", PLACED[what]
    host.mkdir()
    look(site)
    with Authority.opened(site, NOW) as authority:
        authority.sign(CLIENT, "alice", certificates.make_key().public_key(), 90 * DAY)
    before = wanted_of(play, site, look(site), tmp_path / "before")[name]
    place(host, before)
    after = wanted_of(play, site, look(site, revoke=True), tmp_path / "after")[name]
    place(host, after)
    revoked = (host / name).read_bytes()
    with pytest.raises(AirlockError, match="the host has a newer one"):
        place(host, before)
    assert (host / name).read_bytes() == revoked
    place(host, wanted_of(play, site, look(site), tmp_path / "again")[name])
    assert (host / name).read_bytes() == revoked


def test_the_keys_are_looked_at_immediately_before_they_are_placed() -> None:
    """Packages take minutes, and whoever revokes a key in these would be told to run it again."""
    tasks = yaml.safe_load((ROOT / "roles/gateway/tasks/present.yml").read_text())
    (looks,) = [n for n, task in enumerate(tasks) if "Keep the API keys" in task["name"]]
    files = tasks[looks + 1]["homelab.airlock.managed_files"]["files"]
    assert "{{ __gateway_keys_file }}" in files
