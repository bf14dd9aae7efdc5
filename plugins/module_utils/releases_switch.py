# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing releases up, moving the slots, and retiring what no slot needs.

Nothing that serves is touched before everything wanted is ready.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field

from . import releases_slots
from .errors import AirlockError
from .ownership import Record
from .releases import fallback_of, files_of, unit_of
from .releases_retire import ROLE, Retirement
from .releases_slots import Slots
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
    """Moves the slots of a host; ``check`` predicts and touches nothing.

    Every move starts what it needs, waits until that serves, replaces the slots in one rename, and
    then retires what they have left. When a release does not become ready, the slots and
    everything that they point to stay as they were, and the error is what the release itself said.
    All of them raise AirlockError and OSError.
    """

    def __init__(
        self,
        record: Record,
        run: Run,
        *,
        check: bool = False,
        drain: float = 30.0,
        slots: str = releases_slots.PATH,
        group: str = releases_slots.GROUP,
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

    def keep(self, wanted: Sequence[Wanted]) -> Outcome:
        """Bring up the current release of every service; one that has none gets the wanted one."""

        def move(before: Slots) -> tuple[Slots, list[Wanted]]:
            after = releases_slots.keep(before, map(asdict, wanted))
            return after, [
                each
                if each.release == (current := after[each.service]["current"])
                else self._placed(after, each.service, current)
                for each in wanted
            ]

        # What is wanted waits for somebody to release it, with its runtime.
        return self._apply(move, {each.release for each in wanted})

    def stage(self, wanted: Wanted) -> Outcome:
        """Let ``wanted`` serve as the canary of its service, beside what is current."""
        return self._apply(lambda now: (releases_slots.stage(now, asdict(wanted)), [wanted]))

    def withdraw(self, service: str) -> Outcome:
        """Stop the canary of ``service``."""
        return self._apply(lambda now: (releases_slots.withdraw(now, service), []))

    def promote(self, wanted: Wanted) -> Outcome:
        """Make ``wanted`` the current release of its service."""
        return self._apply(lambda now: (releases_slots.promote(now, asdict(wanted)), [wanted]))

    def roll_back(self, service: str) -> Outcome:
        """Make the previous release of ``service`` the current one."""

        def move(before: Slots) -> tuple[Slots, list[Wanted]]:
            after = releases_slots.roll_back(before, service)
            return after, [self._placed(after, service, after[service]["current"])]

        return self._apply(move)

    def _apply(
        self,
        move: Callable[[Slots], tuple[Slots, list[Wanted]]],
        waiting: AbstractSet[str] = frozenset(),
    ) -> Outcome:
        # A prediction changes nothing, and the directory may not be there yet.
        with contextlib.nullcontext() if self.check else releases_slots.locked(self.slots):
            out = self.outcome
            out.before = releases_slots.load(self.slots)
            out.after, wanted = move(out.before)
            states = self.units.states(each.unit for each in wanted)
            self._start(wanted, states)
            self._enable(wanted, states)
            self._point()
        # Answers in flight may take long, and meanwhile another release may have to stand in.
        out.reasons += self.retirement.apply(
            releases_slots.serving(out.after), {*releases_slots.pointed(out.after), *waiting}
        )
        return out

    def _placed(self, slots: Slots, service: str, release: str) -> Wanted:
        """Return a release that is on the host already, as its unit describes it."""
        unit = unit_of(release)
        return Wanted(
            service,
            release,
            slots[service]["mode"],
            self.units.start_timeout(unit),
            tuple(files_of(release)),
        )

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
        failed = [*units, *(fallback_of(each.release) for each in begun)]
        self.units.run(["systemctl", "reset-failed", *failed])
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
        before = self.outcome.before.get(each.service)
        if before and before["current"] == each.release:
            outlook = (
                f"{before['standin']['slot']}, {releases_slots.answering(before)}, goes on answering"
                if before["standin"]
                else "its previous or fallback release answers instead, where there is one"
            )
            ending = f" For {each.service} {outlook}."
        else:
            ending = " The slots were not changed."
        return AirlockError(
            f"{each.unit} refused to start: "
            + (said or f"systemd says '{state['Result']}'; see 'journalctl -u {each.unit}'.")
            + ending
        )

    def _enable(self, wanted: list[Wanted], states: dict[str, State]) -> None:
        """Let what is current start at boot; a canary does not."""
        lasting = [
            each for each in wanted if self.outcome.after[each.service]["current"] == each.release
        ]
        off = [each for each in lasting if states[each.unit]["UnitFileState"] != "enabled"]
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
        out.reasons += _moved(out.before, out.after) or [f"{self.slots}: it is missing"]
        if self.check:
            return
        releases_slots.save(out.after, self.slots, self.group)
        self.record.claim(ROLE, "files", self.slots)


def _moved(before: Slots, after: Slots) -> list[str]:
    """Return one sentence for each slot that points elsewhere."""
    found = [
        f"{service}: {kind} is {entry[kind] or 'nothing'}"
        + (f", was {old}" if (old := before.get(service, {}).get(kind)) else "")
        for service, entry in sorted(after.items())
        for kind in releases_slots.KINDS
        if entry[kind] != before.get(service, {}).get(kind)
    ]
    found += [
        f"{service}: {entry['current']} answers itself again, no other stands in"
        for service, entry in sorted(after.items())
        if before.get(service, {}).get("standin") and not entry["standin"]
    ]
    return found + [
        f"{service}: it is no service any more" for service in sorted({*before} - {*after})
    ]


def _newer(each: Wanted, started_us: int) -> str | None:
    """Return the first input that changed after the unit was started, on the monotonic clock."""
    started = time.time() - time.monotonic() + started_us / 1_000_000
    for path in each.inputs:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_mtime > started:
                return path
    return None
