# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with an old revocation list is red, and the sentence says which file it is and what to run."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from ansible_collections.homelab.airlock.plugins.plugin_utils import certificate_requests
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import Authority
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
HOST, EDGE = "/etc/airlock/pki/clients.crl", "/run/airlock/edge/clients.crl"
NEWER, OLDER, NEWEST = "20261121173439Z", "20261120080000Z", "20261122080000Z"
REVOKED = "error 23 at 0 depth lookup: certificate revoked"


def records(
    play: Play, site: Path, lists: dict[str, str | None], tried: tuple[str, int]
) -> list[Any]:
    """Return what verify records when the host has ``lists``: "new", another text, or None for no file."""
    (site / "pki").mkdir()
    for name in ("issuing", "root"):
        (site / f"pki/{name}.crl").write_text(f"{name}\n")
    texts = {path: "issuing\nroot\n" if text == "new" else text for path, text in lists.items()}
    ages = [
        {"item": {"item": path, "content": base64.b64encode(text.encode()).decode()}}
        | {"last_update": {"new": NEWER, "newest": NEWEST}.get(lists[path] or "", OLDER)}
        if text is not None
        else {"item": {"item": path, "msg": "file not found"}, "failed": True}
        for path, text in texts.items()
    ]
    said, good = tried
    facts = {
        "airlock_site_dir": str(site),
        "__pki_list_lives": {"results": [{"last_update": NEWER}]},
        "__pki_list_ages": {"results": ages},
        "__pki_list_tried": {"results": [{"stderr": said}, {"rc": good}]},
    }
    task = {"ansible.builtin.copy": {"dest": str(site / "records"), "content": "{{ found }}"}}
    task["vars"] = {"found": "{{ __pki_records_lists | to_json }}"}
    done = play(tasks=[task], vars=facts, vars_files=[str(ROOT / "roles/pki/vars/main.yml")])
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads((site / "records").read_text()))


@pytest.mark.parametrize(
    ("lists", "others"),
    [
        ({HOST: "new", EDGE: "new"}, []),
        ({HOST: "new", EDGE: "older"}, [EDGE]),
        ({HOST: "older", EDGE: "new"}, [HOST]),
        ({HOST: None, EDGE: "new"}, [HOST]),
    ],
    ids=["the same", "the edge was not told", "the host was not reached", "none"],
)
def test_a_list_that_is_not_the_controllers_is_red(
    play: Play, tmp_path: Path, lists: dict[str, str | None], others: list[str]
) -> None:
    record, _in_force = records(play, tmp_path, lists, (REVOKED, 0))
    assert (record["control"], record["holds"]) == ("PKI-06", not others)
    for path in others:
        assert f"an old list in {path}" in record["observed"]
        assert (OLDER in record["observed"]) == (lists[path] is not None)
        assert "run renew.yml" in record["observed"]


def test_a_list_that_is_newer_than_the_controllers_is_said_to_be(
    play: Play, tmp_path: Path
) -> None:
    record, _in_force = records(play, tmp_path, {HOST: "newest", EDGE: "new"}, (REVOKED, 0))
    assert not record["holds"]
    assert f"a newer list than the controller in {HOST}, of {NEWEST}" in record["observed"]
    assert "run renew.yml, which takes over what is revoked there" in record["observed"]


@pytest.mark.parametrize(
    ("said", "good", "holds", "control"),
    [
        (REVOKED, 0, True, True),
        ("", 0, False, True),
        (REVOKED, 2, True, False),
        ("error 12 at 0 depth lookup: CRL has expired", 2, False, False),
    ],
)
def test_a_list_is_in_force_when_it_refuses_one_and_takes_the_other(
    play: Play, tmp_path: Path, said: str, good: int, holds: bool, control: bool
) -> None:
    _same, record = records(play, tmp_path, {HOST: "new", EDGE: "new"}, (said, good))
    assert (record["holds"], record["positive_control"] is not None) == (holds, control)
    assert record["denial"]
    assert record["observed"] == (said.rpartition(": ")[2] or "taken")


def test_a_controller_from_a_backup_asks_the_hosts_first(play: Play, tmp_path: Path) -> None:
    backup, site = tmp_path / "backup", tmp_path / "site"
    scope = Scope.of(["ai.home.arpa"], [])

    def keep() -> None:
        with Authority.opened(site, datetime.now(timezone.utc)) as authority:
            authority.ensure(scope, 90)
            certificate_requests.keep_clients(authority, {"bob": {}}, 90, 90)

    keep()
    shutil.copytree(site, backup)
    with Authority.opened(site, datetime.now(timezone.utc)) as authority:
        (taken,) = authority.revoke("client", "bob", 90)
    for host in ("one", "other", "broken"):
        (tmp_path / host).mkdir()
    lists = [(site / f"pki/{name}.crl").read_text() for name in ("issuing", "root")]
    (tmp_path / "one/clients.crl").write_text("\n".join(lists))
    (tmp_path / "broken/clients.crl").write_text("nonsense")

    (look,) = yaml.safe_load((ROOT / "roles/pki/tasks/placed.yml").read_text())
    look["ansible.builtin.slurp"]["src"] = f"{tmp_path}/{{{{ inventory_hostname }}}}/clients.crl"
    tasks = yaml.safe_load((ROOT / "roles/pki/tasks/present.yml").read_text())
    (ask,) = [task for task in tasks if "homelab.airlock.authority" in task]
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    done = play(
        inventory="".join(f"{host} {local}\n" for host in ("one", "other", "broken")),
        hosts="all",
        vars_files=[str(ROOT / "roles/pki/vars/main.yml")],
        vars={
            "airlock_site_dir": str(backup),
            "airlock_authentication": "mtls",
            "pki_clients": {"bob": {}},
            "pki_server_names": ["ai.home.arpa"],
            "pki_server_addresses": [],
            "pki_leaf_days": 90,
            "pki_client_days": 90,
            "pki_ca_passphrase": "",
        },
        tasks=[
            look,
            {**ask, "register": "kept"},
            {"ansible.builtin.debug": {"msg": "{{ kept.reasons }}"}, "run_once": True},
        ],
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    assert f"revoked client bob, serial {taken.serial:x}, as one says" in said
    assert "What is known here is older than one" in said
    assert "broken: the revocation list cannot be read" in said
    listed = x509.load_pem_x509_crl((backup / "pki/issuing.crl").read_bytes())
    assert taken.serial in {entry.serial_number for entry in listed}
