# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role lock says to the owner."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any


def drift_report(result: dict[str, Any], host: str) -> list[str]:
    """Return the lines to print for a result of ``state_lock`` that has differences."""
    differences = result["differences"]
    cause = (
        "What you want has changed since the lock was made, so this may be your own doing."
        if result["intent_changed"]
        else "What you want has not changed since the lock was made."
    )
    return [
        f"DRIFT: {host} differs from its lock (serial {result['lock']['serial']}) in {len(differences)} "
        f"place(s). {cause}",
        *(f"- {difference['sentence']}" for difference in differences),
        "The lock was not changed. To accept all of this: -e airlock_relock=true -e \"reason='...'\"",
    ]


def rebuild_report(result: dict[str, Any], host: str, marks: dict[str, int]) -> dict[str, Any]:
    """Return what is kept of a rebuild; ``marks`` has seconds since the epoch at which phases ended.

    The first mark is the start. ``rto_seconds`` is the time from there to the end of the last phase.
    """
    times = list(marks.items())
    phases = {name: end - begun for (_before, begun), (name, end) in pairwise(times)}
    return {
        "version": 1,
        "host": host,
        "lock": {key: result["lock"][key] for key in ("serial", "lineage", "state_digest")},
        "rto_seconds": times[-1][1] - times[0][1],
        "phases": phases,
        "equal": not result["differences"],
        "differences": [difference["sentence"] for difference in result["differences"]],
    }


def rebuild_summary(report: dict[str, Any]) -> list[str]:
    """Return the lines to print for a report of a rebuild."""
    phases = ", ".join(f"{name} {seconds} s" for name, seconds in report["phases"].items())
    found = [f"- {sentence}" for sentence in report["differences"]]
    return [
        f"{report['host']} was rebuilt in {report['rto_seconds']} s ({phases}).",
        *(found or [f"It is what its lock says (serial {report['lock']['serial']})."]),
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "drift_report": drift_report,
            "rebuild_report": rebuild_report,
            "rebuild_summary": rebuild_summary,
        }
