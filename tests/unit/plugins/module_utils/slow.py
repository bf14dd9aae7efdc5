# SPDX-License-Identifier: GPL-3.0-or-later
"""How slow this machine is just now, for bounds on a processor's time."""

from __future__ import annotations

import time

_ROUNDS = 600_000
_SECONDS = 0.15  # for all rounds, where the bounds were chosen; the machine was not idle


def slowness() -> float:
    """Return how many times slower than there a fixed piece of work is; at least 1."""
    began = time.process_time()
    found = {}
    for number in range(_ROUNDS):
        found[str(number % 50_000)] = number & 7
    return max(1.0, (time.process_time() - began) / _SECONDS)
