# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the loaded rules with their file, writes down how it ended, and fails when they differ."""

from __future__ import annotations

import sys
import time

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock import canonical, nft_table
from airlock.commands import run_here
from airlock.errors import AirlockError
from airlock.files import write_atomic

RULES = "/etc/airlock/egress.nft"
REPORT = "/run/airlock/drift-egress.json"
# A change is on its way from the file to the kernel for less than this.
SETTLE_S = 5


def drift() -> str:
    """Return in a sentence what is wrong, "" for nothing."""
    try:
        return nft_table.drift(run_here, RULES)
    except AirlockError as exc:
        return str(exc)


def main() -> int:
    """Compare, report, and return the exit status."""
    reason = drift()
    if reason:
        time.sleep(SETTLE_S)
        reason = drift()
    report = {"when": int(time.time()), "holds": not reason, "reason": reason}
    write_atomic(REPORT, canonical.dumps(report) + b"\n", mode=0o644)
    if reason:
        print(f"{reason} Nothing was repaired; see 'nft list table inet airlock'.", file=sys.stderr)
        return 1
    print("The loaded rules are those of the file.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
