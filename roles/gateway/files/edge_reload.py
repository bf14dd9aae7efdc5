# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the edge read its files anew, and says so when it did not: systemd has nobody wait for the new process, and when
that refuses what it reads, the one before goes on with what it read.

An ordinary reload leaves connections to the process that they began with, for as long as their answers last. When a
certificate has been taken back, that is too long: with the argument ``cut`` the one before is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

UNIT = "airlock-edge.service"
PATIENCE = 10.0  # seconds for the new process to come
GRACE = 1.0  # seconds for it to stay, and for the one before to finish short answers


def workers() -> set[int]:
    """Return the children of the master process."""
    shown = subprocess.run(
        ["systemctl", "show", "--property=MainPID", "--value", UNIT],
        check=True,
        capture_output=True,
        text=True,
    )
    master = int(shown.stdout)
    if not master:
        return set()
    return set(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))


def main(*, cut: bool) -> None:
    """Reload, and end what is older when ``cut``. Exits with a sentence when no new process stays."""
    before = workers()
    subprocess.run(["systemctl", "reload-or-restart", UNIT], check=True)
    end = time.monotonic() + PATIENCE
    while not workers() - before and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(GRACE)
    if not workers() - before:
        sys.exit(
            f"{UNIT} did not take up its new configuration and goes on with the one before; look at its journal."
        )
    if cut:
        for pid in before & workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main(cut=sys.argv[1:] == ["cut"])
