# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python runs gatekeeper and audit writer in a bench: what hosts have, unless another one is named."""

from __future__ import annotations

import argparse
import subprocess
import sys

DISTRIBUTION = "/usr/bin/python3"
_VERSIONS = (
    "import aiohttp, platform;"
    "print('Python', platform.python_version(), 'with aiohttp', aiohttp.__version__)"
)


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        metavar="PROGRAM",
        help=f"runs gatekeeper and audit writer; {DISTRIBUTION}, as on hosts, if it has aiohttp, else this one",
    )


def chosen(program: str | None) -> str:
    """Return ``program`` or the one that is taken without it; print which it is, with its version and aiohttp's."""
    for candidate in [program] if program else [DISTRIBUTION, sys.executable]:
        try:
            told = subprocess.run(
                [candidate, "-I", "-c", _VERSIONS], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        print(f"gatekeeper and audit writer run on {candidate}: {told.stdout.strip()}", flush=True)
        return candidate
    raise SystemExit(f"void: {program or sys.executable} does not run, or has no aiohttp")
