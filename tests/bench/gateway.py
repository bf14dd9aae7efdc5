# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge and gatekeeper add to requests that come one after the other, as ratios within one run.

Asks each of three doors in turn (the runtime's socket, the gatekeeper's socket, TLS through the edge) and prints
medians. Then the writer gets records without end, and the whole trail is proven. An answer other than 200 or a trail
that is not whole voids the run. tests/bench/load.py asks with wrk, many at a time.

    python3 tests/bench/gateway.py [--requests 300] [--rounds 5] [--python PROGRAM]
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import host_python
from front_door import PROMPT, cpu_seconds, proven, rss_mib, standing

BURST = 20_000  # records that are sent to the writer at once


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path):
        super().__init__("door")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def burst(writer: Path, count: int) -> float:
    """Return how many records a second the writer takes when nobody waits for single answers."""
    record = {"kind": "done", "id": "0" * 16, "key": "bench", "route": "/v1/chat/completions"}
    record |= {"client": "10.1.2.3", "prompt_sha256": "0" * 64, "response_sha256": "0" * 64}
    record |= {"sent_sha256": "0" * 64, "tables": "input 1, weights 1, output 2"}
    data = json.dumps(record | dict.fromkeys("abcdefghijkl", 0)).encode()
    frames = (struct.pack(">II", len(data), 0) + data) * 100
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(writer))
        connection.recv(1)
        started, answered = time.perf_counter(), 0
        for _hundred in range(count // 100):
            connection.sendall(frames)
            answered += connection.recv(4096).count(b"+")
        while answered < count:
            answered += connection.recv(4096).count(b"+")
        return count / (time.perf_counter() - started)


def ask(connection: http.client.HTTPConnection, key: str, count: int) -> list[float]:
    """Return the milliseconds of ``count`` requests over one warm connection."""
    body = json.dumps(PROMPT)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    times = []
    for _one in range(count):
        started = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        response.read()
        times.append((time.perf_counter() - started) * 1000)
        if response.status != 200:
            raise SystemExit(f"void: a request was answered with {response.status}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests", type=int, default=300, help="requests of a round at each door"
    )
    parser.add_argument("--rounds", type=int, default=5)
    host_python.add_option(parser)
    options = parser.parse_args()
    with standing(host_python.chosen(options.python)) as front:
        context = front.trusting()
        doors: dict[str, Callable[[], http.client.HTTPConnection]] = {
            "runtime, direct": lambda: UnixConnection(front.runtime_socket),
            "through the gatekeeper": lambda: UnixConnection(front.gatekeeper_socket),
            "TLS, edge and gatekeeper": lambda: http.client.HTTPSConnection(
                "127.0.0.1", front.edge_port, context=context
            ),
        }
        connections = {name: make() for name, make in doors.items()}
        for connection in connections.values():
            ask(connection, front.key, 20)
        before = cpu_seconds(front.gatekeeper) + cpu_seconds(front.edge)
        writer_before = cpu_seconds(front.writer)
        rounds: dict[str, list[list[float]]] = {name: [] for name in doors}
        for _round in range(options.rounds):
            for name, connection in connections.items():
                rounds[name].append(ask(connection, front.key, options.requests))
        used = cpu_seconds(front.gatekeeper) + cpu_seconds(front.edge) - before
        written = cpu_seconds(front.writer) - writer_before

        base_line = statistics.median(map(statistics.median, rounds["runtime, direct"]))
        for name, samples in rounds.items():
            middle = statistics.median(map(statistics.median, samples))
            tail = statistics.median(sorted(times)[int(len(times) * 0.99)] for times in samples)
            print(
                f"{name:26} p50 {middle:6.2f} ms   p99 {tail:6.2f} ms   {middle / base_line:4.1f} x direct"
            )
        served = options.requests * options.rounds * 2
        print(f"CPU of edge and gatekeeper: {used / served * 1e6:.0f} us a request")
        print(
            f"memory: gatekeeper {rss_mib(front.gatekeeper):.0f} MiB, edge {rss_mib(front.edge):.0f} MiB"
        )
        print(f"CPU of the writer: {written / served * 1e6:.0f} us a request (two records)")
        print(f"memory of the writer: {rss_mib(front.writer):.0f} MiB")
        trail = proven(front.base)
        if trail.done != {200: served + 40}:
            raise SystemExit(f"void: {served + 40} requests left {dict(trail.done)}")
        taken = burst(front.writer_socket, BURST)
        print(f"writer: {taken:.0f} records a second; proving one takes {trail.each:.0f} us")


if __name__ == "__main__":
    main()
