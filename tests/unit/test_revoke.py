# SPDX-License-Identifier: GPL-3.0-or-later
"""A revocation reaches every host that it can, and names the others: revoke.yml with its steps on the host left out."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import Wanted, converge
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
(REVOKE,) = yaml.safe_load((ROOT / "playbooks/revoke.yml").read_text())
HERE = f"here ansible_connection=local ansible_python_interpreter={sys.executable}"
GONE = 'gone ansible_host=127.0.0.1 ansible_port=1 ansible_ssh_common_args="-o ConnectTimeout=2"'


def task(beginning: str) -> dict[str, Any]:
    """Return the one task of revoke.yml whose name begins so."""
    (found,) = [task for task in REVOKE["tasks"] if task["name"].startswith(beginning)]
    return dict(found)


@pytest.mark.parametrize(
    ("hosts", "arguments"),
    [([GONE, HERE], ()), ([GONE, HERE], ("--limit", "here")), ([HERE], ())],
    ids=["one is off", "one is left out", "all are there"],
)
def test_a_host_that_missed_it_keeps_no_other_from_refusing_and_is_named(
    play: Play, hosts: list[str], arguments: tuple[str, ...]
) -> None:
    edge = [{"ansible.builtin.ping": {}}, {"ansible.builtin.debug": {"msg": "the edge reloads"}}]
    content = {**REVOKE, "become": False, "tasks": [*edge, task("Say where")]}
    done = play(
        *arguments,
        "--extra-vars=certificate=alice",
        inventory="\n".join(["[airlock_inference]", *hosts, ""]),
        **content,
    )
    said = " ".join(done.stdout.split())
    assert "the edge reloads" in said, done.stdout + done.stderr
    assert (done.returncode == 0) == (len(hosts) == 1)
    assert ("alice is taken back, but gone did not get as far" in said) == (len(hosts) == 2)


@pytest.mark.parametrize(("arguments", "failed"), [(("--check",), False), ((), True)])
def test_a_prediction_asks_no_edge_that_still_takes_it(
    play: Play, arguments: tuple[str, ...], *, failed: bool
) -> None:
    facts = {
        "gateway_state": "present",
        "__gateway_visitors": {"valid": "", "witness": ""},
        "__gateway_visitor": "",
        "__gateway_client": "localhost",
        "__gateway_address": "127.0.0.1",
        "__gateway_reached_at": "127.0.0.1",
        "__gateway_ca": "",
        "gateway_port": 1,  # nobody answers there, so whoever asks fails
        "__revoke_began": 0,
    }
    done = play(
        *arguments,
        "--extra-vars=certificate=alice",
        vars={**REVOKE["vars"], **facts},
        tasks=[task("Show"), task("Say how long")],
    )
    assert (done.returncode != 0) == failed, done.stdout + done.stderr
    assert ("answer a good certificate and to refuse" in " ".join(done.stdout.split())) == failed


@pytest.mark.parametrize(
    ("playbook", "steps"),
    [("renew", {"follow.yml"}), ("rotate", {"follow.yml"}), ("revoke", {"visit.yml", "cut.yml"})],
)
def test_a_front_door_that_is_removed_stays_so(playbook: str, steps: set[str]) -> None:
    """A certificate changes, and nothing of the role that is absent is asked for or made again."""
    (found,) = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    at_the_door = {}
    for one in found["tasks"]:
        role = one.get("ansible.builtin.import_role") or one.get("ansible.builtin.include_role", {})
        if role.get("tasks_from") in steps or "homelab.airlock.tls_probe" in one:
            at_the_door[role.get("tasks_from", "probe")] = one.get("when", "")
    assert set(at_the_door) == steps | ({"probe"} if playbook == "revoke" else set())
    for when in at_the_door.values():
        # The first one: what is behind it may not be defined then.
        assert (when if isinstance(when, str) else when[0]) == "gateway_state == 'present'"


@pytest.mark.parametrize(
    ("playbook", "step"), [("revoke", "Take the key back"), ("rotate", "Make another key")]
)
def test_a_key_changes_without_a_front_door_too(
    play: Play, tmp_path: Path, playbook: str, step: str
) -> None:
    """Somebody who closed it because a key leaked takes that key back before it is opened again."""
    wanted = {"guest": Wanted(Scope(("chat",)), 30)}
    converge(str(tmp_path / "secrets/keys"), wanted, datetime.now(timezone.utc))
    record = tmp_path / "secrets/keys/guest.json"
    before = record.read_text()
    (found,) = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    names = ("Declare the front door", step)
    done = play(
        "--extra-vars=key=guest",
        inventory=f"[airlock_inference]\n{HERE}\n",
        **{
            **found,
            "become": False,
            "vars": {
                **found["vars"],
                "airlock_exposure": "internal",
                "airlock_site_dir": str(tmp_path),
                "gateway_api_keys": {"guest": {"services": ["chat"]}},
                "gateway_state": "absent",
            },
            "tasks": [task for task in found["tasks"] if task["name"] in names],
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("revoked" in json.loads(record.read_text())) == (playbook == "revoke")
    assert record.read_text() != before
