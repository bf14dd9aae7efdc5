# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function for each kind of probe: it tries, and says how it ended.

They run in a child that has left the host's namespaces and rights behind, so nothing is imported
inside them and no name is resolved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable

from .probes import Outcome, Probe

_DNS_QUESTION = (
    b"\x07airlock\x07invalid\x00\x00\x01\x00\x01"  # airlock.invalid A IN, RFC 1035, 4.1.2
)
_DNS_RECURSE, _DNS_ANSWER = 0x0100, 0x8000
# RFC 792 and RFC 4443: protocol, type of a request, type of a reply.
_ECHO = {
    socket.AF_INET: (socket.IPPROTO_ICMP, 8, 0),
    socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, 129),
}
_LINGER = 1.0
_NO_PING_SOCKET = (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT)


def attempt(probe: Probe, timeout: float) -> Outcome:
    """Try ``probe`` for at most ``timeout`` seconds."""
    begin = time.monotonic()
    try:
        outcome = _KINDS[probe.kind](probe, begin + timeout)
    except TimeoutError:
        outcome = Outcome("timeout")
    except OSError as exc:
        symbol = errno.errorcode.get(exc.errno or 0)
        outcome = Outcome("refused", errno=symbol, detail="" if symbol else str(exc))
    return Outcome(
        outcome.outcome,
        errno=outcome.errno,
        ms=round((time.monotonic() - begin) * 1000),
        detail=outcome.detail,
        source=_source(probe),
    )


def _tcp(probe: Probe, deadline: float) -> Outcome:
    with socket.socket(_family(probe), socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(deadline))
        connection.connect((probe.address, probe.port))
    return Outcome("reached")


def _udp(probe: Probe, deadline: float) -> Outcome:
    token = b"airlock " + os.urandom(8)
    return _ask(probe, token, lambda _reply: True, deadline)


def _dns(probe: Probe, deadline: float) -> Outcome:
    number = os.urandom(2)
    question = number + struct.pack("!5H", _DNS_RECURSE, 1, 0, 0, 0) + _DNS_QUESTION

    def answers(reply: bytes) -> bool:
        return (
            len(reply) >= 12
            and reply[:2] == number
            and bool(int.from_bytes(reply[2:4], "big") & _DNS_ANSWER)
        )

    return _ask(probe, question, answers, deadline)


def _ask(
    probe: Probe, question: bytes, is_answer: Callable[[bytes], bool], deadline: float
) -> Outcome:
    with socket.socket(_family(probe), socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((probe.address, probe.port))
        datagrams.send(question)
        while True:
            datagrams.settimeout(_left(deadline))
            if is_answer(datagrams.recv(2048)):
                return Outcome("reached")


def _icmp(probe: Probe, deadline: float) -> Outcome:
    family = _family(probe)
    protocol, request, reply = _ECHO[family]
    token = b"airlock " + os.urandom(8)
    with _echo_socket(family, protocol) as echo:
        echo.connect((probe.address, 0))
        echo.send(_echo_request(request, token))
        while True:
            echo.settimeout(_left(deadline))
            packet = echo.recv(2048)
            if family == socket.AF_INET and echo.type == socket.SOCK_RAW:
                packet = packet[
                    (packet[0] & 0x0F) * 4 :
                ]  # a raw socket shows the IP header, raw(7)
            if packet[:1] == bytes([reply]) and packet.endswith(token):
                return Outcome("reached")


def _echo_socket(family: socket.AddressFamily, protocol: int) -> socket.socket:
    """Return a ping socket where the user may have one (icmp(7), ping_group_range), else a raw one."""
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError as exc:
        if exc.errno not in _NO_PING_SOCKET:
            raise
    return socket.socket(family, socket.SOCK_RAW, protocol)


def _echo_request(kind: int, token: bytes) -> bytes:
    """Return an echo request; the kernel sums up what is ICMPv6, RFC 3542, section 3.1."""
    body = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + token
    total = sum(struct.unpack(f"!{len(body) // 2}H", body)) + (kind << 8)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


def _unix(probe: Probe, deadline: float) -> Outcome:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as connection:
            connection.settimeout(_left(deadline))
            try:
                connection.connect(probe.path)
            except OSError as exc:
                if exc.errno != errno.EPROTOTYPE:
                    raise
            else:
                return Outcome("reached")
    raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE))


def _write(probe: Probe, _deadline: float) -> Outcome:
    """Ask for the right to write and use it for nothing: the host is as it was."""
    inside = os.path.isdir(probe.path)
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_TMPFILE if inside else os.O_NOFOLLOW)
    try:
        os.close(os.open(probe.path, flags, 0o600))
    except OSError as exc:
        # Not every file system knows files without a name, open(2); the rights are checked all the same.
        if not inside or exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        if not os.access(probe.path, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from exc
    return Outcome("reached")


def _interfaces(_probe: Probe, _deadline: float) -> Outcome:
    others = sorted({name for _index, name in socket.if_nameindex()} - {"lo"})
    return (
        Outcome("reached", detail=" ".join(others))
        if others
        else Outcome("refused", detail="only lo")
    )


def _listen(probe: Probe, deadline: float) -> Outcome:
    family = _family(probe)
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((probe.address, probe.port))
        listener.listen()
        listener.settimeout(_left(deadline))
        connection, peer = listener.accept()
        connection.close()
        time.sleep(
            min(_LINGER, max(0.0, deadline - time.monotonic()))
        )  # the kernel takes the others
    return Outcome("reached", detail=f"by {peer[0]}")


def _source(probe: Probe) -> str:
    """Return the own address that the kernel would use; connecting a UDP socket sends nothing."""
    if not probe.address or probe.kind == "listen":
        return ""
    with (
        contextlib.suppress(OSError),
        socket.socket(_family(probe), socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.connect((probe.address, probe.port or 1))
        return str(datagrams.getsockname()[0])
    return ""


def _family(probe: Probe) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in probe.address else socket.AF_INET


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


_KINDS: dict[str, Callable[[Probe, float], Outcome]] = {
    "tcp": _tcp,
    "udp": _udp,
    "dns": _dns,
    "icmp": _icmp,
    "unix": _unix,
    "write": _write,
    "interfaces": _interfaces,
    "listen": _listen,
}
