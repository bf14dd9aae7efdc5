# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH connections that prove something: nothing that was open before can carry them."""

from __future__ import annotations

from typing import Any

from ansible.playbook.play_context import PlayContext
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.loader import connection_loader

# ssh takes the first value of an option that it is given (ssh_config(5)). A dead peer is given up
# after ConnectTimeout before, and after ServerAliveInterval * ServerAliveCountMax behind the handshake.
_ALONE = (
    "-o ControlMaster=no -o ControlPath=none -o ConnectTimeout=4 -o ConnectionAttempts=1 "
    "-o ServerAliveInterval=2 -o ServerAliveCountMax=3"
)


def is_ssh(connection: ConnectionBase) -> bool:
    return bool(connection.matches_name(["ssh"]))


def fresh(kept: ConnectionBase, play_context: PlayContext, address: str) -> ConnectionBase:
    """Return a connection to ``address`` like ``kept``, over a TCP connection of its own."""
    connection = connection_loader.get(kept.ansible_name, play_context)
    options: dict[str, Any] = kept.get_options()
    options |= {
        "host": address,
        "ssh_args": f"{_ALONE} {options['ssh_args'] or ''}",
        "reconnection_retries": 0,
    }
    connection.set_options(direct=options)
    connection.set_become_plugin(kept.become)
    connection._shell = kept._shell
    return connection
