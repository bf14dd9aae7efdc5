# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/bench/load.py prints: medians of the rounds, the goals beside them, and what is too far off."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from operator import attrgetter

import doors
import streams
import wrk
from doors import Door, Memory

MOST_MEMORY = 64  # MiB of the gatekeeper, which is also the goal
MOST_GROWTH = 4  # MiB of a process while it soaks, after it is warm
MOST_TIMES_PLAIN = 150  # the CPU of a request beside TLS alone

# By the name of the door; loads also by the number of connections.
Loads = dict[tuple[str, int], list[wrk.Load]]
Arrivals = dict[str, list[streams.Arrivals]]


def loads(taken: Loads, direct: Door, ours: Door, others: list[Door]) -> list[str]:
    """Print what the loads showed; return what is too far off."""
    _table(taken)
    most = max(connections for _name, connections in taken)
    heavy = taken[ours.name, most]
    parts = {
        name: statistics.median(load.cpu[name] / load.answered * 1e6 for load in heavy)
        for name in ours.processes
    }
    print(f"of which at {most}: {_listed(parts, '.0f')} us; goal 1200 requests/s of a core")
    if (direct.name, 1) in taken:
        p50, p99 = (
            _median(taken[ours.name, 1], figure) - _median(taken[direct.name, 1], figure)
            for figure in ("p50", "p99")
        )
        print(f"added at 1 connection: p50 {p50:.2f} ms (goal 1.0), p99 {p99:.2f} ms (goal 5)")
    memory = ours.memory()
    print(f"memory, MiB: {_listed(memory, '.0f')}; goal {MOST_MEMORY} for the gatekeeper")
    wrong = []
    if memory["gatekeeper"] > MOST_MEMORY:
        wrong.append(f"the gatekeeper has {memory['gatekeeper']:.0f} MiB, not {MOST_MEMORY}")
    for other in others:
        times = _median(heavy, "cost") / _median(taken[other.name, most], "cost")
        print(
            f"beside {other.name} at {most}: {times:.3g} x the CPU, {1 / times:.3g} x the "
            f"requests/s of a core, {sum(memory.values()) / sum(other.memory().values()):.2g} x the memory"
        )
        if other.name == doors.PLAIN and times > MOST_TIMES_PLAIN:
            wrong.append(f"a request costs {times:.0f} x TLS alone, not {MOST_TIMES_PLAIN}")
    return wrong


def arrivals(taken: Arrivals, direct: Door, ours: Door) -> None:
    """Print how streams arrived."""
    figures = {}
    for name, rounds in taken.items():
        first = statistics.median(statistics.median(each.first) for each in rounds)
        gap = statistics.median(sorted(each.gaps)[int(len(each.gaps) * 0.99)] for each in rounds)
        count = len(rounds[0].first)
        print(f"{name:20} {count} streams: first piece {first:.1f} ms, gap p99 {gap:.1f} ms")
        figures[name] = first, gap
    first, gap = (a - b for a, b in zip(figures[ours.name], figures[direct.name], strict=True))
    print(f"added: first piece {first:.1f} ms (goal 10), gap p99 {gap:.1f} ms (goal 5); all came")


def soak(load: wrk.Load, samples: list[Memory]) -> list[str]:
    """Print how a soak went; return what is too far off."""
    print(f"soak: {load.answered} requests in {load.seconds:.0f} s, {load.rate:.0f} a second")
    for number, sample in enumerate(samples):
        print(f"sample {number}, MiB: {_listed(sample, '.1f')}")
    # Between the first two, every path is taken for the first time.
    warm, end = samples[min(1, len(samples) - 2)], samples[-1]
    growth = {name: end[name] - warm[name] for name in end}
    print(f"growth, MiB: {_listed(growth, '+.1f')}; at most {MOST_GROWTH}")
    return [
        f"{name} grew by {more:.1f} MiB, not {MOST_GROWTH}"
        for name, more in growth.items()
        if more > MOST_GROWTH
    ]


def _table(taken: Loads) -> None:
    columns = f"{'p50 ms':>8} {'p99 ms':>8} {'requests/s':>11} {'CPU us each':>12} {'per core':>9}"
    print(f"{'':20} {'connections':>11} {columns}")
    for (name, connections), rounds in taken.items():
        p50, p99, rate, cost = (
            _median(rounds, figure) for figure in ("p50", "p99", "rate", "cost")
        )
        line = f"{name:20} {connections:11} {p50:8.2f} {p99:8.2f} {rate:11.0f}"
        print(line + (f" {cost:12.0f} {1e6 / cost:9.0f}" if cost else ""))


def _median(rounds: Iterable[wrk.Load], figure: str) -> float:
    return float(statistics.median(map(attrgetter(figure), rounds)))


def _listed(figures: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {figure:{form}}" for name, figure in figures.items())
