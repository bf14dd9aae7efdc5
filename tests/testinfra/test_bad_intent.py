# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner gets wrong ends in one sentence with the fix, and the host is as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

MODEL = "smollm2-135m-instruct-q4_1"
STORE = "ls -la --time-style=full-iso /var/lib/airlock/store"
TRUNK = {
    "vlan_mode": "trunk",
    "vlan_id": 30,
    "vlan_parent": "eth0",
    "vlan_addresses": ["10.99.0.10/24"],
}
STRAY = "/etc/left-behind-by-hand"


def run_site(site: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    command = ["ansible-playbook", "-i", str(site / "inventory.yml"), "homelab.airlock.site"]
    return subprocess.run(
        [*command, "-e", json.dumps(variables)],
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


def changes(output: str) -> set[str]:
    return set(re.findall(r"changed=(\d+)", output))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"airlock_servces": {}}, "did you mean airlock_services?"),
        ({"egress_alow": []}, "did you mean egress_allow?"),
        (
            {"airlock_services": {"chat": {"model": "none"}}},
            "there is no entry none in airlock_models",
        ),
        ({"airlock_admin_networks": ["192.168.77.0/24"]}, "The firewall would lock you out"),
        ({"airlock_apt_proxy": "http://proxy.lan:3142"}, "a name cannot be used"),
        ({"baseline_uid_base": 0}, "cannot have uid 0"),
        ({"vlan_mode": "trunk"}, "vlan_parent: expected the interface that leads to the switch"),
        ({**TRUNK, "vlan_parent": "eth7"}, "found eth7; correct the name"),
        ({**TRUNK, "vlan_id": 4095}, "vlan_id: expected a number from 1 to 4094, found 4095"),
        ({**TRUNK, "vlan_interface": "a" * 16}, "vlan_interface: expected at most 15 characters"),
        ({**TRUNK, "vlan_addresses": ["10.99.0.0/24"]}, "which is that of the network"),
        ({**TRUNK, "vlan_gateways": ["10.98.0.1"]}, "vlan_gateways[0]: expected an address inside"),
        ({"ansible_host": "127.255.255.254", "preflight_connect_timeout": 3}, "does not answer at"),
    ],
)
def test_bad_intent_is_refused_before_any_change(
    site: Path, variables: dict[str, Any], sentence: str
) -> None:
    done = run_site(site, **variables)
    assert done.returncode != 0
    assert sentence in words(done.stdout)
    assert changes(done.stdout) == {"0"}


def test_a_site_directory_inside_a_collection_is_refused(site: Path) -> None:
    inside = Path(__file__).resolve().parents[2] / "docs"
    done = run_site(site, airlock_site_dir=str(inside))
    assert "is inside the collection" in words(done.stdout)
    assert changes(done.stdout) == {"0"}
    assert not (inside / "pki").exists()


def test_a_port_that_is_taken_is_refused(site: Path, inference: Host) -> None:
    inference.check_output("systemd-run --unit=squatter python3 -m http.server 9443 --bind ::")
    try:
        done = run_site(site, airlock_listen_port=9443)
    finally:
        inference.check_output("systemctl stop squatter")
    assert done.returncode != 0
    assert "Port 9443 of inference is taken by python3" in words(done.stdout)
    assert changes(done.stdout) == {"0"}


def test_a_wrong_digest_stops_before_anything_is_pushed(
    site: Path, inference: Host, intent: dict[str, Any]
) -> None:
    catalog = json.loads(json.dumps(intent["airlock_models"]))
    catalog[MODEL]["files"][0]["sha256"] = "0" * 64
    before = inference.check_output(STORE)
    done = run_site(site, airlock_models=catalog)
    assert done.returncode != 0
    assert "0" * 64 in done.stdout
    assert inference.check_output(STORE) == before


def test_what_is_added_by_hand_is_drift_and_never_locked(site: Path, inference: Host) -> None:
    lock = site / "state" / "inference.lock.json"
    before = lock.read_bytes()
    inference.check_output("touch %s", STRAY)
    try:
        done = run_site(site)
    finally:
        inference.check_output("rm %s", STRAY)
    assert done.returncode == 0
    assert f"file {STRAY}" in words(done.stdout)
    assert lock.read_bytes() == before
