# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the other end of a Unix socket, as the kernel has it (SO_PEERCRED, unix(7)).

The user is the one that called connect(2) or, at the other end, listen(2). In a user namespace all
strangers look alike, so the unit has none (docs/decisions/0057).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

from aiohttp import web

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def uid_of(transport: asyncio.BaseTransport | None) -> int | None:
    """Return the user at the other end, None when the connection is gone."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


class Door(web.Server):
    """A server for the user ``uid`` alone; whoever else connects is not read."""

    def __init__(self, uid: int, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._uid = uid

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Take a connection of the right user, and cut every other one."""
        super().connection_made(handler, transport)
        uid = uid_of(transport)
        if uid != self._uid:
            print(f"gatekeeper: refused a connection of user {uid}", file=sys.stderr, flush=True)
            transport.abort()
