# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine on another VLAN than the switch, on purpose: it comes back by itself to the network that it had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Machine

TIMEOUT = 75  # two of the drills wait for all of it
WRONG = ("--extra-vars", json.dumps({"vlan_id": 31, "airlock_confirm_timeout": TIMEOUT}))
NETWORK = (
    "ip -details -oneline link show type vlan; ip -brief address; "
    "find /etc/systemd/network | sort | xargs stat -c %n:%A:%U; grep -r . /etc/systemd/network | sort"
)


def network(machine: Machine) -> str:
    """Return everything about the network but counters and numbers of links, which a new link has anew."""
    lines = machine.run(NETWORK).splitlines()
    return "\n".join(line.partition(": ")[2] if ": ai" in line else line for line in lines)


def on_wrong_vlan(machine: Machine) -> bool:
    try:
        return machine.ssh("ip link show ai31").returncode == 0
    except subprocess.TimeoutExpired:  # no answer, as when there is no connection
        return False


@pytest.fixture
def cutting(
    machine: Machine, play: list[str], plain: dict[str, str]
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the play; give the network before it, and its process, once the VLAN is the wrong one."""
    before = network(machine)
    with subprocess.Popen(
        [*play, *WRONG], env=plain, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert machine.waits(lambda: on_wrong_vlan(machine), 600)
            yield before, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_the_network_returns_and_the_play_says_so(
    machine: Machine, play: list[str], plain: dict[str, str]
) -> None:
    before = network(machine)
    done = subprocess.run(
        [*play, *WRONG], env=plain, stdout=subprocess.PIPE, text=True, check=False
    )
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"No new connection to {machine.vlan}.10 confirmed the change within {TIMEOUT} s" in said
    assert "inference has put the previous state of 'vlan' back" in said
    assert machine.answers(f"{machine.vlan}.10")
    assert network(machine) == before


def test_it_returns_without_a_controller(
    machine: Machine, cutting: tuple[str, subprocess.Popen[str]]
) -> None:
    before, process = cutting
    os.killpg(process.pid, signal.SIGKILL)
    assert on_wrong_vlan(machine)
    assert not machine.answers(f"{machine.vlan}.10")
    assert machine.waits(lambda: machine.answers(f"{machine.vlan}.10"), TIMEOUT + 180)
    assert network(machine) == before


def test_it_returns_when_the_power_goes(
    machine: Machine, cutting: tuple[str, subprocess.Popen[str]]
) -> None:
    before, process = cutting
    machine.power("cut")
    os.killpg(process.pid, signal.SIGKILL)
    machine.boots()
    assert not on_wrong_vlan(machine)
    assert network(machine) == before
    outcome = machine.run("cat /var/lib/airlock/changes/vlan/outcome.json")
    assert "restarted before anybody confirmed it" in outcome
