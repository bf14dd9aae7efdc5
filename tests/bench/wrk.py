# SPDX-License-Identifier: GPL-3.0-or-later
"""Load by wrk, and what it cost the processes behind a door."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from doors import Door
from front_door import PROMPT, cpu_seconds

_SCRIPT = Path(__file__).with_name("load.lua")
_TIMEOUT = 30  # seconds that an answer may take


@dataclass(frozen=True)
class Load:
    """A run without a fault: requests, all of them answered with 200, and their milliseconds; seconds it took;
    CPU seconds of each process."""

    answered: int
    seconds: float
    p50: float
    p99: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.answered / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of CPU of a request."""
        return sum(self.cpu.values()) / self.answered * 1e6


def ask(
    door: Door, connections: int, seconds: float, *, rate: float = 0, streamed: int = 0
) -> Load:
    """Ask for ``seconds`` over so many connections: ``rate`` requests a second or, for 0, as fast as it goes.

    Of ``streamed`` requests, unless it is 0, one is for a stream. Any answer but 200, any missing one and any
    error of a connection voids the run.
    """
    environment = {
        "LOAD_KEY": door.key,
        "LOAD_BODY": json.dumps(PROMPT),
        "LOAD_STREAMED": json.dumps({**PROMPT, "stream": True}),
        "LOAD_SECONDS": str(seconds),
        "LOAD_RATE": str(rate),
        "LOAD_NTH": str(streamed),
    }
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--timeout={_TIMEOUT}s"]
    slack = door.slack + (2 if streamed else 0)  # a stream takes longer
    command += [f"--duration={math.ceil(seconds) + slack}s", f"--script={_SCRIPT}"]
    before = {name: cpu_seconds(pid) for name, pid in door.processes.items()}
    printed = subprocess.run(
        [*command, f"{door.url}/v1/chat/completions"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    cpu = {name: cpu_seconds(pid) - before[name] for name, pid in door.processes.items()}
    said = json.loads(printed.stdout.splitlines()[-1])
    faults = {name: said[name] for name in ("missing", "refused", "broken") if said[name]}
    if faults or not said["answered"]:
        raise SystemExit(f"void: {door.name}: {said['answered']} requests were answered; {faults}")
    return Load(said["answered"], said["seconds"], said["p50"], said["p99"], cpu)
