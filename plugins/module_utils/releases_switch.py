# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing releases up, pointing the slots to them, and retiring what no slot needs.

Nothing that serves is touched before everything wanted is ready. A release that an older slot
remembers keeps its files, so that it can be started again, but does not run.
"""

from __future__ import annotations

import contextlib
import grp
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import releases_slots
from .errors import AirlockError
from .files import write_atomic
from .ownership import Record
from .releases import UNIT_PREFIX, files_of, unit_of

ROLE = "runtime"
_PROPERTIES = (
    "Id", "ActiveState", "SubState", "UnitFileState", "Result", "InvocationID", "MainPID",
    "InactiveExitTimestampMonotonic",
)  # fmt: skip
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 15

Run = Callable[[list[str]], tuple[int, str]]
"""Runs a command; returns its exit status and its combined output."""


@dataclass(frozen=True)
class Wanted:
    """A release that must serve. A file among ``inputs`` that is newer than the process makes it stale."""

    service: str
    release: str
    mode: str
    start_timeout: int
    inputs: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Return the name of its unit."""
        return unit_of(self.release)


@dataclass
class Outcome:
    """What was or would be done, in words, and the slots before and after."""

    reasons: list[str] = field(default_factory=list)
    before: releases_slots.Slots = field(default_factory=dict)
    after: releases_slots.Slots = field(default_factory=dict)


class Switch:
    """Applies the wanted releases; ``check`` predicts and touches nothing."""

    def __init__(
        self,
        record: Record,
        run: Run,
        *,
        check: bool = False,
        drain: float = 30.0,
        slots: str = releases_slots.PATH,
        group: str = "airlock-gatekeeper",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.record = record
        self.run = run
        self.check = check
        self.drain = drain
        self.slots = slots
        self.group = group
        self.clock = clock
        self.sleep = sleep
        self.outcome = Outcome()

    def apply(self, wanted: list[Wanted]) -> Outcome:
        """Start, wait, switch, retire. Raises AirlockError and OSError.

        When a release does not become ready, the slots and everything that they point to stay as
        they were, and the error is what the release itself said.
        """
        out = self.outcome
        out.before = releases_slots.load(self.slots)
        out.after = releases_slots.advance(
            out.before,
            [
                {"service": each.service, "release": each.release, "mode": each.mode}
                for each in wanted
            ],
        )
        states = self._states([each.unit for each in wanted])
        self._start(wanted, states)
        self._enable(wanted, states)
        self._point()
        self._retire({each.release for each in wanted})
        return out

    # -- steps -----------------------------------------------------------------------------

    def _start(self, wanted: list[Wanted], states: dict[str, dict[str, str]]) -> None:
        new, stale = [], []
        for each in wanted:
            state = states[each.unit]
            if state["ActiveState"] != "active":
                new.append(each)
                self.outcome.reasons.append(f"{each.release}: it does not run")
            elif newer := _newer(each, int(state["InactiveExitTimestampMonotonic"] or 0)):
                stale.append(each)
                self.outcome.reasons.append(f"{each.release}: {newer} changed since it was started")
        if not self.check:
            # What serves is only touched when nothing else can fail any more.
            self._begin("start", new)
            self._begin("restart", stale)

    def _begin(self, verb: str, begun: list[Wanted]) -> None:
        if not begun:
            return
        units = [each.unit for each in begun]
        for unit in units:
            self.record.claim(ROLE, "units", unit)
        self.run(["systemctl", "reset-failed", *units])
        self._must(["systemctl", "--no-block", verb, *units])
        self._await(begun)

    def _await(self, begun: list[Wanted]) -> None:
        started = self.clock()
        waiting = {each.unit: each for each in begun}
        while waiting:
            for unit, state in self._states(list(waiting)).items():
                each = waiting[unit]
                if state["ActiveState"] == "active":
                    del waiting[unit]
                elif state["ActiveState"] == "failed" or state["SubState"] == "auto-restart":
                    raise self._explain(each, state)
                elif self.clock() - started > each.start_timeout + _GRACE_SECONDS:
                    raise AirlockError.refuse(
                        "the release did not become ready",
                        expected=f"within {each.start_timeout} s",
                        found=f"{state['ActiveState']} ({state['SubState']})",
                        where=each.unit,
                        fix=f"see 'journalctl -u {each.unit}'; the slots were not changed",
                    )
            if waiting:
                self.sleep(_POLL_SECONDS)

    def _explain(self, each: Wanted, state: dict[str, str]) -> AirlockError:
        # Our programs say why they refuse with priority err; everything else is less.
        _status, output = self.run(
            ["journalctl", "--quiet", "--output=cat", "--priority=err", "--lines=1",
             f"_SYSTEMD_INVOCATION_ID={state['InvocationID']}"]
        )  # fmt: skip
        said = output.strip()
        return AirlockError(
            f"{each.unit} refused to start: "
            + (said or f"systemd says '{state['Result']}'; see 'journalctl -u {each.unit}'.")
            + " The slots were not changed."
        )

    def _enable(self, wanted: list[Wanted], states: dict[str, dict[str, str]]) -> None:
        off = [each for each in wanted if states[each.unit]["UnitFileState"] != "enabled"]
        self.outcome.reasons += [f"{each.release}: it does not start at boot" for each in off]
        if off and not self.check:
            self._must(["systemctl", "enable", *(each.unit for each in off)])
        if not self.check:
            for each in wanted:
                self.record.claim(ROLE, "units", each.unit)

    def _point(self) -> None:
        out = self.outcome
        if os.path.exists(self.slots) and out.after == out.before:
            return
        out.reasons.append(f"{self.slots}: it points elsewhere or is missing")
        if self.check:
            return
        write_atomic(
            self.slots,
            releases_slots.to_bytes(out.after),
            mode=0o640,
            uid=os.geteuid(),
            gid=grp.getgrnam(self.group).gr_gid,
        )
        self.record.claim(ROLE, "files", self.slots)

    def _retire(self, serving: set[str]) -> None:
        """Stop what does not serve; remove what no slot remembers."""
        known = self._known()
        kept = releases_slots.pointed(self.outcome.after)
        states = self._states([unit_of(release) for release in known - serving])
        for release in sorted(known - serving):
            state = states[unit_of(release)]
            running = state["ActiveState"] in ("active", "activating", "deactivating")
            if running or state["UnitFileState"] == "enabled":
                self.outcome.reasons.append(f"{release}: no service needs it to run")
                if not self.check:
                    self._drain(int(state["MainPID"] or 0))
                    self._must(["systemctl", "disable", "--now", unit_of(release)])
            if release not in kept:
                self._remove(release)

    def _remove(self, release: str) -> None:
        self.outcome.reasons.append(f"{release}: no slot remembers it")
        if self.check:
            return
        self.run(["systemctl", "reset-failed", unit_of(release)])
        self.record.release(ROLE, "units", unit_of(release))
        for path in files_of(release):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self.record.release(ROLE, "files", path)
        dropins = os.path.dirname(files_of(release)[-1])
        with contextlib.suppress(OSError):
            os.rmdir(dropins)
        self.record.release(ROLE, "directories", dropins)
        self._must(["systemctl", "daemon-reload"])

    def _drain(self, pid: int) -> None:
        """Wait until nobody is connected to the process of a release that the slots have left."""
        deadline = self.clock() + self.drain
        while connections(pid) and self.clock() < deadline:
            self.sleep(_POLL_SECONDS)

    # -- parts -----------------------------------------------------------------------------

    def _known(self) -> set[str]:
        claimed = self.record.claims(ROLE, "units")
        _status, output = self.run(
            [
                "systemctl",
                "list-units",
                "--all",
                "--plain",
                "--no-legend",
                f"{UNIT_PREFIX}*.service",
            ]
        )
        listed = [line.split()[0] for line in output.splitlines() if line.startswith(UNIT_PREFIX)]
        return {
            unit[len(UNIT_PREFIX) : -len(".service")]
            for unit in {*claimed, *listed}
            if unit.startswith(UNIT_PREFIX)
        }

    def _states(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        units = list(units)
        if not units:
            return {}
        status, output = self.run(
            ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", *units]
        )
        if status != 0:
            raise AirlockError.refuse("systemd does not answer", found=output.strip())
        states = {}
        for block in output.strip().split("\n\n"):
            state = dict(line.partition("=")[::2] for line in block.splitlines())
            states[state["Id"]] = dict.fromkeys(_PROPERTIES, "") | state
        return states

    def _must(self, command: list[str]) -> None:
        status, output = self.run(command)
        if status != 0:
            raise AirlockError.refuse(f"'{' '.join(command)}' failed", found=output.strip())


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


def _newer(each: Wanted, started_us: int) -> str | None:
    """Return the first input that changed after the unit was started, on the monotonic clock."""
    started = time.time() - time.monotonic() + started_us / 1_000_000
    for path in each.inputs:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_mtime > started:
                return path
    return None
