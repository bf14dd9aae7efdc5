# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs when a release has failed (OnFailure=): lets its previous or fallback release answer instead.

Takes the name of the release that failed. Exit status: 0 when there was nothing to do, else 1, so
that the unit counts as failed until somebody has looked.
"""

from __future__ import annotations

import subprocess
import sys

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock.errors import AirlockError
from airlock.releases_fallback import Fallback
from airlock.releases_program import refuse


def run(command: list[str]) -> tuple[int, str]:
    """Run ``command`` and return its exit status and what it printed."""
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return result.returncode, result.stdout


def main() -> int:
    """Replace the release that the command line names and return the exit status."""
    if len(sys.argv) != 2:
        return refuse("usage: fallback.py RELEASE")
    try:
        said = Fallback(run).apply(sys.argv[1])
    except (AirlockError, OSError) as exc:
        return refuse(f"release {sys.argv[1]} failed and nothing can stand in: {exc}")
    return max((refuse(sentence) for sentence in said), default=0)


if __name__ == "__main__":
    sys.exit(main())
