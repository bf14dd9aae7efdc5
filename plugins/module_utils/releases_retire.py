# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retiring releases and runtimes that the slots have left.

A release that a slot remembers keeps its files and its runtime, so that it can be started again,
but does not run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import astuple

from . import gate
from .errors import AirlockError
from .files import read_limited
from .ownership import Record
from .releases import LaunchConfig, fallback_of, files_of, unit_of
from .releases_units import Units

ROLE = "runtime"
_POLL_SECONDS = 0.5
_MAX_CONFIG = 1024 * 1024


class Retirement:
    """Stops what does not serve and removes what no slot remembers; ``check`` touches nothing.

    ``drain`` is how many seconds a release may take to finish what it is answering.
    """

    def __init__(
        self,
        record: Record,
        units: Units,
        *,
        check: bool = False,
        drain: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.record = record
        self.units = units
        self.check = check
        self.drain = drain
        self.clock = clock
        self.sleep = sleep

    def apply(self, serving: set[str], kept: set[str]) -> list[str]:
        """Retire every release but those of ``serving``; those of ``kept`` stay ready to start.

        Returns what was or would be done, in words. Raises AirlockError and OSError.
        """
        reasons = []
        idle = sorted(self.units.releases(self.record.claims(ROLE, "units")) - serving)
        states = self.units.states(unit_of(release) for release in idle)
        for release in idle:
            state = states[unit_of(release)]
            running = state["ActiveState"] in ("active", "activating", "deactivating")
            if running or state["UnitFileState"] == "enabled":
                reasons.append(f"{release}: no service needs it to run")
                if not self.check:
                    self._finish(int(state["MainPID"] or 0))
                    self.units.must(["systemctl", "disable", "--now", unit_of(release)])
            if release not in kept:
                reasons.append(f"{release}: no slot remembers it")
                if not self.check:
                    self._remove(release)
        for tree in self._unused(kept):
            reasons.append(f"{tree}: no release that is kept runs from it")
            if not self.check:
                if os.path.lexists(tree):
                    shutil.rmtree(tree)
                self.record.release(ROLE, "trees", tree)
        return reasons

    def _remove(self, release: str) -> None:
        self.units.run(["systemctl", "reset-failed", unit_of(release), fallback_of(release)])
        self.record.release(ROLE, "units", unit_of(release))
        for path in (*files_of(release), *astuple(gate.Files.of(release))):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self.record.release(ROLE, "files", path)
        dropins = os.path.dirname(files_of(release)[-1])
        with contextlib.suppress(OSError):
            os.rmdir(dropins)
        self.record.release(ROLE, "directories", dropins)
        self.units.must(["systemctl", "daemon-reload"])

    def _unused(self, kept: set[str]) -> list[str]:
        """Return the unpacked runtimes that no release of ``kept`` runs from.

        One release whose configuration cannot be read keeps them all.
        """
        trees = self.record.claims(ROLE, "trees")
        used = set()
        for path in (files_of(release)[0] for release in kept if trees):
            try:
                used.add(LaunchConfig.parse(read_limited(path, _MAX_CONFIG), path).runtime)
            except (AirlockError, OSError):
                return []
        return sorted(set(trees) - used)

    def _finish(self, pid: int) -> None:
        """Wait until nobody is connected to the process of a release that the slots have left."""
        deadline = self.clock() + self.drain
        while connections(pid) and self.clock() < deadline:
            self.sleep(_POLL_SECONDS)


def connections(pid: int) -> int:
    """Return how many clients are connected to the process ``pid``; 0 when it is gone.

    A Unix socket belongs to the network namespace of who connected, so what the process holds
    beyond its standard streams and is not in its own /proc/<pid>/net/unix is a client (proc(5)).
    """
    held = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if int(name) > 2 and target.startswith("socket:["):
                    held.add(target[len("socket:[") : -1])
        with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="replace") as table:
            own = {line.split()[6] for line in table}
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return len(held - own)
