# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of what ends by itself: green, amber when what should have renewed it did not, red when it is too late."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from . import api_keys


def record(
    said: Mapping[str, Any],
    end: datetime,
    now: datetime,
    *,
    amber: timedelta,
    red: timedelta,
    due: str,
) -> dict[str, Any]:
    """Return ``said`` (control, vantage, probe) as an evidence record of what ends at ``end``.

    It holds with more than ``amber`` left. What is ``due`` has a waiver for the day of ``now`` then,
    until no more than ``red`` is left. ``end`` and ``now`` both have a time zone, or neither has.
    """
    left = end - now
    found = {
        "expected": f"more than {amber / timedelta(hours=1):g}h",
        "observed": f"until {end:%Y-%m-%d %H:%M} UTC",
        **said,
        "holds": left > amber,
    }
    if not found["holds"] and left > red:
        found["waiver"] = {"reason": due, "until": f"{now:%Y-%m-%d}"}
    return found


def of_keys(
    records: Iterable[Mapping[str, Any]],
    control: str,
    *,
    visit: timedelta,
    waiting: Collection[str],
    now: datetime,
) -> list[dict[str, Any]]:
    """Return how long each key of ``records`` (as ``keys.json`` has them) is still taken, but for revoked ones.

    Amber is what ends before the next ``visit``, or has a quarter of its life left, but never before half of it, when
    it is renewed. Of a key that was renewed, the one before it counts as well while ``waiting`` names it: its file is
    on the controller, so nobody said that its holder has the next one. ``now`` has a time zone. Raises AirlockError.
    """
    found: list[dict[str, Any]] = []
    for kept in records:
        entry = api_keys.from_dict(kept, where="keys.json")
        if entry.revoked is not None:
            continue
        start, end = (_moment(text) for text in (entry.not_before, entry.not_after))
        amber = min(max(visit, (end - start) / 4), (end - start) / 2)
        ends = [(f"the key {entry.id}", end, "it is due; run renew.yml and hand the new key over")]
        if entry.retiring is not None and entry.id in waiting:
            before = _moment(entry.retiring.until)
            due = f"hand {entry.id}.key over and delete it here"
            ends += [(f"the key {entry.id} of before", before, due)] if before > now else []
        found += [
            record(
                {"control": control, "vantage": "self", "probe": f"how long {what} is still taken"},
                until,
                now,
                amber=amber,
                red=timedelta(0),
                due=due,
            )
            for what, until, due in ends
        ]
    return found


def _moment(text: str) -> datetime:
    return api_keys.parse_time(text, where="keys.json")
