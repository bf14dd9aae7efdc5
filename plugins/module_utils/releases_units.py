# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of releases, as systemd sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .errors import AirlockError
from .releases import UNIT_PREFIX

Run = Callable[[list[str]], tuple[int, str]]
"""Runs a command; returns its exit status and its combined output."""

State = dict[str, str]
"""Properties of a unit by name, as ``systemctl show`` prints them; '' where there is none."""

_PROPERTIES = (
    "Id", "ActiveState", "SubState", "UnitFileState", "Result", "InvocationID", "MainPID",
    "InactiveExitTimestampMonotonic",
)  # fmt: skip
_SUFFIX = ".service"


class Units:
    """Asks and tells systemd through ``run``."""

    def __init__(self, run: Run):
        self.run = run

    def states(self, units: Iterable[str]) -> dict[str, State]:
        """Return the state of each unit by name. Raises AirlockError."""
        units = list(units)
        if not units:
            return {}
        output = self.must(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", *units])
        states = {}
        for block in output.strip().split("\n\n"):
            state = dict(line.partition("=")[::2] for line in block.splitlines())
            states[state["Id"]] = dict.fromkeys(_PROPERTIES, "") | state
        return states

    def releases(self, claimed: Iterable[str]) -> set[str]:
        """Return the releases among the units ``claimed`` and those that systemd has loaded."""
        _status, output = self.run(
            [
                "systemctl",
                "list-units",
                "--all",
                "--plain",
                "--no-legend",
                f"{UNIT_PREFIX}*{_SUFFIX}",
            ]
        )
        listed = [line.split()[0] for line in output.splitlines() if line.startswith(UNIT_PREFIX)]
        return {
            unit[len(UNIT_PREFIX) : -len(_SUFFIX)]
            for unit in {*claimed, *listed}
            if unit.startswith(UNIT_PREFIX)
        }

    def start_timeout(self, unit: str) -> int:
        """Return the seconds that ``unit`` may take to start, as its files say. Raises AirlockError."""
        shown = self.must(["systemctl", "cat", unit])
        given = re.findall(r"^TimeoutStartSec=([0-9]+)$", shown, re.MULTILINE)
        if not given:
            raise AirlockError.refuse(
                "the unit does not say how long it may take to start",
                where=unit,
                fix="run the playbook 'site'",
            )
        return int(given[-1])

    def last_words(self, invocation: str) -> str:
        """Return the last thing that one run of a unit logged as an error, '' if nothing.

        Our programs say why they refuse with priority err; everything else is less.
        """
        _status, output = self.run(
            ["journalctl", "--quiet", "--output=cat", "--priority=err", "--lines=1",
             f"_SYSTEMD_INVOCATION_ID={invocation}"]
        )  # fmt: skip
        return output.strip()

    def must(self, command: list[str]) -> str:
        """Run ``command`` and return what it printed. Raises AirlockError when it fails."""
        status, output = self.run(command)
        if status != 0:
            raise AirlockError.refuse(f"'{' '.join(command)}' failed", found=output.strip())
        return output
