# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge and gatekeeper under load, beside the runtime itself and beside others, as ratios within one run.

wrk asks each door in turn, over and over. The processes of every door share one core; wrk and the runtime have the
others. Then come streams at the same time and, for as long as --soak says, a steady load. At the end the audit trail
must be whole and hold every request with status 200: any other answer, one that is missing, a broken connection or a
lost record voids the run. Goals are printed beside the figures; what turns a run red are the limits in report.py, for
a machine may be busy with other things.

    python3 tests/bench/load.py [--seconds 2] [--rounds 5] [--soak 600] [--python PROGRAM] [--litellm PROGRAM]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import doors
import host_python
import report
import streams
import wrk
from doors import Door, Memory
from front_door import PROMPT, FrontDoor, proven, standing

STREAMS = 16
SOAK_CONNECTIONS = 32
SOAK_STREAMED = 20  # one of so many requests is for a stream
SAMPLE_SECONDS = 30


class Bench:
    """A run. Counts what our door answers, for each request must be in the trail."""

    def __init__(self, front: FrontDoor, others: list[Door]):
        self.front = front
        self.direct = doors.direct(front)
        self.ours = doors.ours(front)
        self.others = others
        self.answered = 0

    def ask(
        self, door: Door, connections: int, seconds: float, rate: float = 0, streamed: int = 0
    ) -> wrk.Load:
        load = wrk.ask(door, connections, seconds, rate=rate, streamed=streamed)
        if door is self.ours:
            self.answered += load.answered
        return load

    def loads(self, connections: list[int], rounds: int, seconds: float) -> report.Loads:
        """Ask every door round after round: the runtime itself over one connection, the others over each number."""
        for door in (self.direct, self.ours, *self.others):
            self.ask(door, max(connections), 0.5)  # so that everything is warm
        loads: report.Loads = {}
        for _round in range(rounds):
            for count in connections:
                for door in ([self.direct] if count == 1 else []) + [self.ours, *self.others]:
                    load = self.ask(door, count, seconds)
                    loads.setdefault((door.name, count), []).append(load)
        return loads

    def stream(self, rounds: int) -> report.Arrivals:
        """Take streams at the same time from the runtime itself and from our door, in turn."""
        arrivals: report.Arrivals = {}
        for _round in range(rounds):
            for door in (self.direct, self.ours):
                trust = self.front.trusting() if door.tls else None
                come = streams.measure(door.port, trust, door.key, PROMPT, STREAMS)
                arrivals.setdefault(door.name, []).append(asyncio.run(come))
            self.answered += 2 * STREAMS  # each warmed its connection
        return arrivals

    def soak(self, seconds: float, rate: float) -> tuple[wrk.Load, list[Memory]]:
        """Ask at a steady rate; return also what memory was before it, every SAMPLE_SECONDS and after it."""
        samples = [self.ours.memory()]
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(self.ask, self.ours, SOAK_CONNECTIONS, seconds, rate, SOAK_STREAMED)
            while not load.done():
                wait([load], SAMPLE_SECONDS)
                samples.append(self.ours.memory())
        return load.result(), samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of a round at each door")
    parser.add_argument("--soak", type=float, default=0, help="seconds of steady load")
    parser.add_argument("--rate", type=float, default=200, help="requests a second of the soak")
    parser.add_argument("--litellm", type=Path, help="the program, to measure its proxy, too")
    host_python.add_option(parser)
    options = parser.parse_args()
    python = host_python.chosen(options.python)
    cores = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, cores[:1])
        front = stack.enter_context(standing(python))
        others = [stack.enter_context(doors.plain(front))]
        if options.litellm:
            others.append(stack.enter_context(doors.litellm(front, options.litellm)))
        for process in (0, front.runtime):
            os.sched_setaffinity(process, cores[1:] or cores)

        bench = Bench(front, others)
        loads = bench.loads(options.connections, options.rounds, options.seconds)
        wrong = report.loads(loads, bench.direct, bench.ours, others)
        report.arrivals(bench.stream(options.rounds), bench.direct, bench.ours)
        if options.soak:
            wrong += report.soak(*bench.soak(options.soak, options.rate))
        trail = proven(front.base)
        if trail.done != {200: bench.answered}:
            raise SystemExit(f"void: {bench.answered} requests left {dict(trail.done)}")
        print(f"the audit trail is whole and holds all {bench.answered} requests")
    if wrong:
        raise SystemExit(f"red: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
