# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returns that tried several things at a door, each of which may belong to a control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

Tried = TypeVar("Tried")
Ended = TypeVar("Ended")


def report(
    tried: Sequence[tuple[Tried, Ended]],
    controls: Sequence[str],
    vantage: str,
    holds: Callable[[Tried, Ended], bool],
    record: Callable[[Tried, Ended], dict[str, Any]],
) -> dict[str, Any]:
    """Return ``{"changed", "results", "records"}``: all that was ``tried``, and a record of what has a control.

    How each ended is a dataclass; ``controls`` has one name for each, or "".
    """
    return {
        "changed": False,
        "results": [
            {"id": what.id, **asdict(how), "holds": holds(what, how)}  # type: ignore[attr-defined,call-overload]
            for what, how in tried
        ],
        "records": [
            {"control": control, "vantage": vantage, **record(what, how)}
            for control, (what, how) in zip(controls, tried, strict=True)
            if control
        ],
    }
