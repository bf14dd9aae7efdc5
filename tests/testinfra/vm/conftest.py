# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine as its owner has it: a power switch, a console, and a wire that somebody records."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Machine:
    """``directory`` is where molecule/vm/files/vm keeps it; ``flat`` and ``vlan`` begin its IPv4 networks."""

    directory: Path
    ssh_config: Path
    flat: str
    vlan: str
    mac: str = "52:54:00:a1:c7:01"

    @staticmethod
    def waits(what: Callable[[], Any], seconds: float) -> bool:
        """Return whether ``what`` became true within that time."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
        return True

    def power(self, action: str) -> None:
        program = ROOT / "molecule" / "vm" / "files" / "vm"
        subprocess.run([program, action, self.directory], check=True, timeout=180)

    def ssh(self, script: str, address: str = "") -> subprocess.CompletedProcess[str]:
        """Run a script as root over a connection of its own, untagged unless there is an address."""
        return subprocess.run(
            [
                *("ssh", "-F", self.ssh_config, "-o", "ConnectTimeout=20"),
                *("-o", f"HostName={address or self.flat + '.10'}", "inference"),
                f"sudo sh -c '{script}'",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def started(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program there as root, from its text."""
        process = subprocess.Popen(
            ["ssh", "-F", self.ssh_config, "inference", "sudo", "python3", "-I", "-", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(program)
        process.stdin.close()
        return process

    def run(self, script: str) -> str:
        done = self.ssh(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self, address: str = "") -> bool:
        try:
            return self.ssh("true", address).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def boots(self) -> None:
        """Turn it on and wait until it answers on its VLAN."""
        self.power("start")
        assert self.waits(lambda: self.answers(f"{self.vlan}.10"), 900)

    def wire(self, *expression: str, since: float = 0.0) -> list[str]:
        """Return the recorded frames that match an expression of pcap-filter(7), a line each."""
        done = subprocess.run(
            ["tcpdump", "-e", "-nn", "-tt", "-r", self.directory / "trunk.pcap", *expression],
            capture_output=True,
            text=True,
            check=False,  # the last frame may be half written
        )
        return [line for line in done.stdout.splitlines() if float(line.split()[0]) >= since]


@pytest.fixture(scope="session")
def machine(site: Path, intent: dict[str, Any]) -> Machine:
    flat, vlan = (net.rpartition(".")[0] for net in intent["airlock_admin_networks"] if "." in net)
    return Machine(site.parent / "vm", site.parent / "ssh" / "config", flat, vlan)


@pytest.fixture(scope="session")
def play(site: Path) -> list[str]:
    """Return the command that makes the machine what its intent says; more options may follow."""
    return [
        *("ansible-playbook", "-i", str(site / "inventory.yml")),
        str(ROOT / "molecule" / "vm" / "converge.yml"),
    ]


@pytest.fixture(scope="session")
def plain() -> dict[str, str]:
    """Return an environment in which Ansible's output can be read by a test."""
    return {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
