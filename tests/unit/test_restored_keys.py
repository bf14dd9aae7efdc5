# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller from a backup asks the hosts which keys they refuse, in every play that places records."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import (
    Orders,
    Wanted,
    converge,
)
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/gateway"


def tasks(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((ROLE / f"tasks/{name}.yml").read_text()))


@pytest.mark.parametrize("name", ["keys", "rotate", "revoke"])
def test_whoever_keeps_the_records_has_asked_the_hosts(name: str) -> None:
    found = tasks(name)
    (kept,) = [place for place, task in enumerate(found) if "homelab.airlock.api_key" in task]
    assert found[kept]["homelab.airlock.api_key"]["placed"] == "{{ __gateway_host_key_files }}"
    assert {"ansible.builtin.include_tasks": "placed.yml"}.items() <= found[kept - 1].items()


def test_a_revoked_key_stays_revoked(play: Play, tmp_path: Path) -> None:
    site, backup = tmp_path / "secrets/keys", tmp_path / "restored/secrets/keys"
    wanted = {"alice": Wanted(Scope(("chat",)), 30)}
    converge(str(site), wanted, datetime.now(timezone.utc))
    shutil.copytree(site, backup)
    orders = Orders(revoke=frozenset(wanted))
    (record,) = converge(str(site), wanted, datetime.now(timezone.utc), orders=orders).records
    for host in ("new", "one", "broken"):
        (tmp_path / host).mkdir()
    (tmp_path / "one/keys.json").write_text(json.dumps({"keys": [record.as_dict()]}))
    (tmp_path / "broken/keys.json").write_text("nonsense")
    (look,) = tasks("placed")
    look["ansible.builtin.slurp"]["src"] = f"{tmp_path}/{{{{ inventory_hostname }}}}/keys.json"
    (keep,) = [task for task in tasks("keys") if "homelab.airlock.api_key" in task]
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    here = {"ansible_python_interpreter": sys.executable}
    done = play(
        inventory="".join(f"{host} {local}\n" for host in ("new", "one", "broken")),
        hosts="all",
        vars_files=[str(ROLE / "vars/main/main.yml")],
        vars={
            "airlock_site_dir": str(tmp_path / "restored"),
            "gateway_api_keys": {"alice": {"services": ["chat"]}},
        },
        tasks=[
            look,
            {**keep, "vars": here},
            {"ansible.builtin.debug": {"var": "__gateway_keys"}, "run_once": True},
        ],
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    assert "alice: one has it as revoked" in said
    assert "broken: keys.json" in said
    assert record.sha256 in (backup / "alice.json").read_text()
    assert json.loads((backup / "alice.json").read_text())["revoked"]
