# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does by itself when a release has failed: previous, then fallback, answers instead.

It never goes back by itself. The failed release no longer starts at boot and the one that stands in
does, so that the host comes up the same way until ``site.yml`` has brought the model anew.
"""

from __future__ import annotations

from . import releases_slots
from .releases import unit_of
from .releases_units import Run, Units


class Fallback:
    """Brings up what may stand in, and points the slot file ``slots`` to it."""

    def __init__(
        self, run: Run, slots: str = releases_slots.PATH, group: str = releases_slots.GROUP
    ):
        self.units = Units(run)
        self.slots = slots
        self.group = group

    def apply(self, failed: str) -> list[str]:
        """Find another release for whatever ``failed`` answered.

        Returns what is to be said, in sentences; nothing, when no service is answered by
        ``failed`` or when it runs again. Raises AirlockError and OSError.
        """
        with releases_slots.locked(self.slots):
            slots = releases_slots.load(self.slots)
            state = self.units.states([unit_of(failed)])[unit_of(failed)]
            if state["ActiveState"] in ("active", "activating", "reloading"):
                return []
            because = self.units.last_words(state["InvocationID"]) or (
                f"systemd says '{state['Result']}', see 'journalctl -u {unit_of(failed)}'."
            )
            return [
                self._replace(slots, service, failed, because)
                for service, entry in slots.items()
                if releases_slots.answering(entry) == failed
            ]

    def _replace(self, slots: releases_slots.Slots, service: str, failed: str, because: str) -> str:
        entry = slots[service]
        tried: list[str] = []
        for slot in releases_slots.STANDINS:
            release = entry[slot]
            if release in (None, failed, entry["current"], *tried):
                continue
            status, _output = self.units.run(["systemctl", "start", unit_of(release)])
            if status != 0:
                tried.append(release)
                continue
            slots.update(releases_slots.stand_in(slots, service, slot, because))
            releases_slots.save(slots, self.slots, self.group)
            self._at_boot(release, failed)
            return (
                f"The service {service} is not answered by {failed}, which failed, but by its "
                f"{slot} release {release}; run the playbook 'site' to repair it. It failed "
                f"because {because}"
            )
        others = (
            f"neither did {' nor '.join(tried)} start" if tried else "no other release can stand in"
        )
        return (
            f"The service {service} is down: {failed} failed and {others}; run the playbook 'site' "
            f"to repair it. It failed because {because}"
        )

    def _at_boot(self, release: str, failed: str) -> None:
        self.units.must(["systemctl", "disable", unit_of(failed)])
        self.units.must(["systemctl", "enable", unit_of(release)])
