# SPDX-License-Identifier: GPL-3.0-or-later
"""A second run of site.yml changes nothing and costs little."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml

MOST_EXECUTIONS = 60
# Molecule colours what it runs and moves what is verbose to another stream.
AS_TEXT = {
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_VERBOSE_TO_STDERR": "false",
}


def test_a_second_run_changes_nothing_and_is_cheap(
    site: Path, report: Callable[[str], None]
) -> None:
    inventory = site / "inventory.yml"
    groups = yaml.safe_load(inventory.read_text())["airlock_lab"]["children"]
    address = groups["airlock_inference"]["hosts"]["inference"]["ansible_host"]
    start = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "-i", str(inventory), "homelab.airlock.site"],
        env={**os.environ, **AS_TEXT},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout[-4000:]
    # With pipelining each execution of a module is one command over the connection, and Ansible says each at -vvv.
    executions = done.stdout.count(f"<{address}> SSH: EXEC ")
    report(f"second run of site.yml: {executions} executions on the host, {seconds:.0f} s")
    changed = dict(re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE))
    assert set(changed.values()) == {"0"}, changed
    assert 0 < executions <= MOST_EXECUTIONS
