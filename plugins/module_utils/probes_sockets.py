# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kinds of network probes share: sockets towards a probe's destination, and their time."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

from .probes import Probe

LARGEST = 65535
"""Bytes of the largest datagram, RFC 768 and RFC 8200, section 3."""

_TOKEN_BYTES = 16


class Untried(OSError):
    """The attempt could not even be made."""


def family(probe: Probe) -> socket.AddressFamily:
    """Return the family of the probe's address; one that maps IPv4 into IPv6 is IPv6."""
    return socket.AF_INET6 if ":" in probe.address else socket.AF_INET


def destination(
    probe: Probe, port: int | None = None
) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return what connect(2) wants, with ``port`` instead of the probe's own. Raises OSError."""
    port = probe.port if port is None else port
    if not probe.interface:
        return (probe.address, port)
    try:
        return (probe.address, port, 0, socket.if_nametoindex(probe.interface))
    except OSError as exc:
        raise Untried(exc.errno, f"there is no interface {probe.interface}") from exc


@contextlib.contextmanager
def connected(probe: Probe, kind: socket.SocketKind, deadline: float) -> Iterator[socket.socket]:
    """Give a socket of ``kind`` that is connected to the probe's destination. Raises OSError."""
    with socket.socket(family(probe), kind) as connection:
        if probe.source_port:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            take(connection, probe.source_port)
        connection.settimeout(left(deadline))
        connection.connect(destination(probe))
        yield connection


def take(connection: socket.socket, port: int) -> None:
    """Bind ``connection`` to its own ``port``. Raises Untried."""
    try:
        connection.bind(("", port))
    except OSError as exc:
        raise Untried(exc.errno, f"the own port {port} cannot be had") from exc


def token(probe: Probe) -> bytes:
    """Return bytes that nobody sent before, as many as the probe wants, at least 16."""
    return os.urandom(max(_TOKEN_BYTES, probe.size))


def left(deadline: float) -> float:
    """Return the seconds until ``deadline``. Raises TimeoutError when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
