# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says how far a long fetch is, while a module that cannot speak before its end does it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import human

INTERVAL = 10.0
"""Seconds between two lines; what takes less says nothing."""


@contextlib.contextmanager
def watching(
    cache: str, expected: int, say: Callable[[str], object], interval: float = INTERVAL
) -> Iterator[None]:
    """Say every ``interval`` seconds how many of ``expected`` bytes (0: unknown) came into ``cache``."""
    before = _size(cache)
    started = time.monotonic()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(interval):
            come = max(0, _size(cache) - before)
            speed = come / (time.monotonic() - started)
            say(f"Fetched {_share(come, expected)}, {human(int(speed))}/s")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _share(come: int, expected: int) -> str:
    if not expected:
        return human(come)
    return f"{human(come)} of {human(expected)} ({min(100, 100 * come // expected)} %)"


def _size(directory: str) -> int:
    """Return the bytes in ``directory`` and below; what vanishes meanwhile counts for nothing."""
    total = 0
    for parent, _directories, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
