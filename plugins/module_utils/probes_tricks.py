# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of probes that try to get around rules: through a resolver, on an old flow, past the sockets."""

from __future__ import annotations

import socket
import struct
import time

from .probes import Outcome, Probe
from .probes_sockets import LARGEST, connected, destination, family, left, take, token

_BEAT = 0.2  # seconds between two messages on a held flow
_PATIENCE = 1.0  # seconds that an answer on it may take
_UDP_CHECKSUM = 6  # its offset in a UDP header, RFC 768


def tcp_held(probe: Probe, deadline: float) -> Outcome:
    """Keep one connection busy until the time is over."""
    return _held(probe, socket.SOCK_STREAM, deadline)


def udp_held(probe: Probe, deadline: float) -> Outcome:
    """Keep one flow of datagrams busy until the time is over."""
    return _held(probe, socket.SOCK_DGRAM, deadline)


def _held(probe: Probe, kind: socket.SocketKind, deadline: float) -> Outcome:
    """A flow that was never open is an error: that it does not go on would say nothing."""
    answers, last = 0, 0.0
    message = token(probe)
    try:
        with connected(probe, kind, deadline) as flow:
            while time.monotonic() < deadline - _BEAT:
                flow.settimeout(min(_PATIENCE, left(deadline)))
                flow.send(message)
                if not flow.recv(LARGEST):
                    raise ConnectionResetError("the peer closed it")
                answers, last = answers + 1, time.monotonic()
                time.sleep(_BEAT)
    except OSError as exc:
        if not answers:
            return Outcome("error", detail=f"it was never open: {exc}")
        if not isinstance(exc, TimeoutError):
            raise
    words = f"{answers} answers"
    if deadline - last > _PATIENCE + _BEAT:
        return Outcome("timeout", detail=f"{words}, then none for {deadline - last:.0f} s")
    return Outcome("reached", detail=words)


def raw(probe: Probe, deadline: float) -> Outcome:
    """Send a datagram whose UDP header is made by hand, so that no UDP socket takes part."""
    message = token(probe)
    with (
        socket.socket(family(probe), socket.SOCK_DGRAM) as keeper,
        socket.socket(family(probe), socket.SOCK_RAW, socket.IPPROTO_UDP) as packets,
    ):
        # Nothing is sent from this one; without it the kernel would answer the answer with an error.
        take(keeper, probe.source_port)
        port = keeper.getsockname()[1]
        expected = struct.pack("!2H", probe.port, port)
        # For IPv4 no checksum is a valid one (RFC 768); for IPv6 the kernel puts it in (RFC 3542, 3.1).
        if family(probe) == socket.AF_INET6:
            packets.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, _UDP_CHECKSUM)
        packets.connect(destination(probe, port=0))
        packets.send(struct.pack("!4H", port, probe.port, 8 + len(message), 0) + message)
        while True:
            packets.settimeout(left(deadline))
            packet = packets.recv(LARGEST)
            # IPv4 shows its own header before that of UDP, raw(7).
            if packet.endswith(message) and packet[: -len(message)][-8:-4] == expected:
                return Outcome("reached")
