# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the library runs a command: through a function that its caller hands in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any, Protocol

Run = Callable[[list[str]], tuple[int, str]]
"""Runs a command; returns its exit status and its output, or its errors when it failed."""

MISSING = 127
"""Exit status of a command that is not installed, as the shell has it (POSIX, 2.8.2)."""


class _Module(Protocol):
    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]: ...


def run_here(command: list[str]) -> tuple[int, str]:
    """Be the `Run` of a program on the host, which has no AnsibleModule."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        return MISSING, f"{command[0]}: {exc.strerror}"
    return done.returncode, done.stderr if done.returncode else done.stdout


def runner(module: _Module) -> Run:
    """Return the `Run` of an AnsibleModule."""

    def run(command: list[str]) -> tuple[int, str]:
        try:
            status, output, errors = module.run_command(command, handle_exceptions=False)
        except OSError as exc:
            return MISSING, f"{command[0]}: {exc.strerror}"
        return status, errors if status else output

    return run
