# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that cut the owner off, on purpose: the host comes back by itself, with the rules that it had before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from testinfra.host import Host

INSTANCE = os.environ.get("AIRLOCK_LAB_INSTANCE", "airlock")
CONTAINER = f"{INSTANCE}-inference"
PLAYBOOK = Path(__file__).parent / "files" / "lockout.yml"
TIMEOUT = 20  # as the playbook has it
Cutting: TypeAlias = "tuple[str, subprocess.Popen[str]]"
FLOW = """
import socket, time
flow = socket.create_connection(("%s", 4444), 3)
while True:
    flow.sendall(b"more")
    assert flow.recv(4)
    time.sleep(0.2)
"""
CHANGES = "/var/lib/airlock/changes"


def command(site: Path, **variables: Any) -> list[str]:
    inventory = str(site / "inventory.yml")
    return ["ansible-playbook", "-i", inventory, str(PLAYBOOK), "-e", json.dumps(variables)]


def environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}


def inside(script: str) -> str:
    """Run a script on the host past its network, as somebody at its console would.

    Not with `docker exec`, which fails on a host that runs an engine of its own.
    """
    first = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Pid}}", CONTAINER],
        capture_output=True,
        text=True,
        check=True,
    )
    done = subprocess.run(
        ["nsenter", "--all", "--target", first.stdout.strip(), "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def rules() -> str:
    """Return what decides about packets: the loaded table without counters, and every file of the role."""
    return inside(
        "nft -s list table inet airlock; cat /etc/airlock/egress.nft /var/lib/airlock/owned.json; "
        "cat /etc/systemd/system/airlock-egress.service; ls -l /etc/systemd/system/*.wants"
    )


def cut_off() -> bool:
    return "tcp dport 2222 accept" in inside("nft list table inet airlock")


def waits(what: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def reachable(site: Path) -> bool:
    """Does a connection of its own get in?"""
    config = str(site.parent / "ssh" / "config")
    done = subprocess.run(
        ["ssh", "-F", config, "-o", "ConnectTimeout=10", "inference", "true"], check=False
    )
    return done.returncode == 0


def pending() -> bool:
    return inside(f"ls {CHANGES}/*/pending.json 2>/dev/null || :") != ""


@pytest.fixture
def cutting(site: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the playbook; give the rules before it, and its process, once the owner is cut off."""
    before = rules()
    with subprocess.Popen(
        command(site),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert waits(cut_off, 240)
            yield before, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_the_host_returns_to_its_rules_and_the_play_says_so(site: Path) -> None:
    before = rules()
    done = subprocess.run(
        command(site), env=environment(), capture_output=True, text=True, check=False
    )
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"confirmed the change within {TIMEOUT} s" in said
    assert "inference has put the previous state of 'egress' back" in said
    assert rules() == before
    assert reachable(site)
    assert not pending()


def test_it_does_so_without_a_controller(cutting: Cutting, site: Path) -> None:
    before, process = cutting
    os.killpg(process.pid, signal.SIGKILL)
    assert cut_off()
    assert pending()
    assert waits(lambda: not cut_off(), TIMEOUT + 60)
    assert waits(lambda: not pending(), 60)
    assert rules() == before
    assert reachable(site)


def test_it_does_so_when_the_power_goes(cutting: Cutting, site: Path) -> None:
    before, process = cutting
    subprocess.run(["docker", "kill", "--signal", "KILL", CONTAINER], check=True)
    subprocess.run(["docker", "start", CONTAINER], check=True)
    assert waits(lambda: reachable(site), 240)
    assert rules() == before
    assert not pending()
    assert "restarted before anybody confirmed it" in inside(f"cat {CHANGES}/egress/outcome.json")
    said, _errors = process.communicate(timeout=TIMEOUT + 100)
    assert process.returncode != 0
    assert "has put the previous state of 'egress' back" in " ".join(said.split())


def test_a_flow_that_is_no_longer_allowed_ends_with_the_change(
    site: Path, inference: Host, intent: dict[str, Any]
) -> None:
    address = intent["airlock_probe_targets"][0]["address4"]
    allowed = [{"address": address, "protocol": "tcp", "port": 4444}]
    subprocess.run(
        command(site, drill_ssh_port=22, egress_allow=allowed), env=environment(), check=True
    )
    inference.check_output(
        "systemd-run --unit=flow --property=Type=exec python3 -c %s", FLOW % address
    )
    try:
        time.sleep(2)
        assert inference.run("systemctl is-active flow").rc == 0
        subprocess.run(command(site, drill_ssh_port=22), env=environment(), check=True)
        assert waits(lambda: inference.run("systemctl is-active flow").rc != 0, 30)
    finally:
        inference.run("systemctl stop flow; systemctl reset-failed flow")


def alone(
    site: Path, files: list[dict[str, str]], *options: str, **arguments: Any
) -> subprocess.CompletedProcess[str]:
    """Make the change `drill` of those files, without a play."""
    given = {"change": "drill", "files": {"role": "drill", "files": files}, **arguments}
    return subprocess.run(
        [
            *("ansible", "-i", str(site / "inventory.yml"), "inference", "--become", *options),
            *("-m", "homelab.airlock.commit_confirm", "-a", json.dumps(given)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_that_fails_undoes_the_change_at_once(site: Path, inference: Host) -> None:
    before = rules()
    started = time.monotonic()
    done = alone(
        site,
        [{"path": "/etc/airlock/drill", "content": "left behind"}],
        tables=["inet airlock"],
        apply=[["nft", "delete", "table", "inet", "airlock"], ["false"]],
    )
    assert time.monotonic() - started < 60
    assert "'false' failed" in " ".join(done.stdout.split())
    assert rules() == before
    assert not inference.file("/etc/airlock/drill").exists


def test_a_connection_that_proves_nothing_is_refused(site: Path) -> None:
    path = site / "left-behind-here"
    done = alone(site, [{"path": str(path), "content": "left behind"}], "--connection", "local")
    assert done.returncode != 0
    assert "expected an SSH connection" in " ".join((done.stdout + done.stderr).split())
    assert not path.exists()
