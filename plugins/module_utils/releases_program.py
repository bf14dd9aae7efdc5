# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a program of a unit talks to systemd: readiness and the one sentence of a refusal."""

from __future__ import annotations

import os
import socket
import sys


def refuse(sentence: str) -> int:
    """Say on standard error why the program will not run, and return the exit status for it, 1.

    Under systemd the line carries the priority err (sd-daemon(3)), which ``release_switch`` asks
    the journal for.
    """
    prefix = "<3>" if "JOURNAL_STREAM" in os.environ else ""
    sys.stderr.write(f"{prefix}{' '.join(sentence.split())}\n")
    sys.stderr.flush()
    return 1


def notify(state: str) -> None:
    """Send ``state``, like ``READY=1``, to the service manager, if there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        client.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        client.sendall(state.encode())
