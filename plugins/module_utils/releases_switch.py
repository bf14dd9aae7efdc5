# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing releases up, pointing the slots to them, and retiring what no slot needs.

Nothing that serves is touched before everything wanted is ready.
"""

from __future__ import annotations

import contextlib
import grp
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import releases_slots
from .errors import AirlockError
from .files import write_atomic
from .ownership import Record
from .releases import unit_of
from .releases_retire import ROLE, Retirement
from .releases_units import Run, State, Units

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 15


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
        self.units = Units(run)
        self.check = check
        self.slots = slots
        self.group = group
        self.clock = clock
        self.sleep = sleep
        self.retirement = Retirement(
            record, self.units, check=check, drain=drain, clock=clock, sleep=sleep
        )
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
        states = self.units.states(each.unit for each in wanted)
        self._start(wanted, states)
        self._enable(wanted, states)
        self._point()
        serving = {each.release for each in wanted}
        out.reasons += self.retirement.apply(serving, releases_slots.pointed(out.after))
        return out

    def _start(self, wanted: list[Wanted], states: dict[str, State]) -> None:
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
        self.units.run(["systemctl", "reset-failed", *units])
        self.units.must(["systemctl", "--no-block", verb, *units])
        self._await(begun)

    def _await(self, begun: list[Wanted]) -> None:
        started = self.clock()
        waiting = {each.unit: each for each in begun}
        while waiting:
            for unit, state in self.units.states(list(waiting)).items():
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

    def _explain(self, each: Wanted, state: State) -> AirlockError:
        said = self.units.last_words(state["InvocationID"])
        return AirlockError(
            f"{each.unit} refused to start: "
            + (said or f"systemd says '{state['Result']}'; see 'journalctl -u {each.unit}'.")
            + " The slots were not changed."
        )

    def _enable(self, wanted: list[Wanted], states: dict[str, State]) -> None:
        off = [each for each in wanted if states[each.unit]["UnitFileState"] != "enabled"]
        self.outcome.reasons += [f"{each.release}: it does not start at boot" for each in off]
        if off and not self.check:
            self.units.must(["systemctl", "enable", *(each.unit for each in off)])
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


def _newer(each: Wanted, started_us: int) -> str | None:
    """Return the first input that changed after the unit was started, on the monotonic clock."""
    started = time.time() - time.monotonic() + started_us / 1_000_000
    for path in each.inputs:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_mtime > started:
                return path
    return None
