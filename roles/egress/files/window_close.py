# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the maintenance window: at its deadline, and at every boot, when none can be open.

The kernel has removed its elements by then; this takes the names out of the hosts file, and writes down
how the window ended for the controller, should it come back.
"""

from __future__ import annotations

import sys
import time

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock.commands import run_here
from airlock.errors import AirlockError
from airlock.windows_host import Host


def main() -> int:
    """Close it and return the exit status."""
    try:
        was_open = Host(run_here).close(int(time.time()))
    except (AirlockError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    print("The maintenance window was closed." if was_open else "No maintenance window was open.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
