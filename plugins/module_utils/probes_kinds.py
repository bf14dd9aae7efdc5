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
from .probes_sockets import LARGEST, Untried, connected, destination, family, left, token
from .probes_tricks import raw, tcp_held, udp_held

# RFC 1035, 4.1: type A, class IN, the bits of a header, the fields of a header.
_DNS_ADDRESS = struct.pack("!HH", 1, 1)
_DNS_RECURSE, _DNS_ANSWER, _DNS_FAILED = 0x0100, 0x8000, 0x000F
_DNS_HEADER = struct.Struct("!6H")
# RFC 792 and RFC 4443: protocol, type of a request, type of a reply.
_ECHO = {
    socket.AF_INET: (socket.IPPROTO_ICMP, 8, 0),
    socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, 129),
}
# Nobody refused anything: there is nothing of that name, or nothing left to try with.
_NOT_THERE = (errno.ENOENT, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_LINGER = 1.0
_NO_PING_SOCKET = (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT)


def attempt(probe: Probe, timeout: float) -> Outcome:
    """Try ``probe`` for at most ``timeout`` seconds."""
    begin = time.monotonic()
    try:
        outcome = _KINDS[probe.kind](probe, begin + timeout)
    except TimeoutError:
        outcome = Outcome("timeout")
    except Untried as exc:
        outcome = Outcome("untried", errno=_symbol(exc), detail=str(exc))
    except OSError as exc:
        # Inside a unit nothing is there to be found on purpose; on the host that says nothing about its rules.
        hidden = bool(probe.unit or probe.container)
        kind = "untried" if exc.errno in _NOT_THERE and not hidden else "refused"
        outcome = Outcome(kind, errno=_symbol(exc), detail="" if _symbol(exc) else str(exc))
    return Outcome(
        outcome.outcome,
        errno=outcome.errno,
        ms=round((time.monotonic() - begin) * 1000),
        detail=outcome.detail,
        source=_source(probe),
    )


def _symbol(exc: OSError) -> str | None:
    return errno.errorcode.get(exc.errno or 0)


def _tcp(probe: Probe, deadline: float) -> Outcome:
    with connected(probe, socket.SOCK_STREAM, deadline):
        return Outcome("reached")


def _udp(probe: Probe, deadline: float) -> Outcome:
    with connected(probe, socket.SOCK_DGRAM, deadline) as datagrams:
        datagrams.send(token(probe))
        datagrams.settimeout(left(deadline))
        datagrams.recv(LARGEST)
    return Outcome("reached")


def _dns(probe: Probe, deadline: float) -> Outcome:
    """Any answer will do: whoever gave it has seen the question."""
    _ask(probe, b"airlock", deadline)
    return Outcome("reached")


def _resolve(probe: Probe, deadline: float) -> Outcome:
    """Only an address will do: a resolver that cannot forward the question answers, too."""
    flags, records = _ask(probe, os.urandom(8).hex().encode(), deadline)
    if flags & _DNS_FAILED or not records:
        return Outcome("refused", detail=f"no address, response code {flags & _DNS_FAILED}")
    return Outcome("reached")


def _ask(probe: Probe, label: bytes, deadline: float) -> tuple[int, int]:
    """Ask for LABEL.airlock.example (RFC 2606); return flags and number of records of the answer."""
    number = int.from_bytes(os.urandom(2), "big")
    labels = b"".join(bytes([len(part)]) + part for part in (label, b"airlock", b"example", b""))
    with connected(probe, socket.SOCK_DGRAM, deadline) as datagrams:
        datagrams.send(_DNS_HEADER.pack(number, _DNS_RECURSE, 1, 0, 0, 0) + labels + _DNS_ADDRESS)
        while True:
            datagrams.settimeout(left(deadline))
            reply = datagrams.recv(LARGEST)
            if len(reply) >= _DNS_HEADER.size:
                answered, flags, _questions, records, _authority, _more = _DNS_HEADER.unpack_from(
                    reply
                )
                if answered == number and flags & _DNS_ANSWER:
                    return flags, records


def _icmp(probe: Probe, deadline: float) -> Outcome:
    protocol, request, reply = _ECHO[family(probe)]
    message = token(probe)
    with _echo_socket(family(probe), protocol) as echo:
        echo.connect(destination(probe, port=0))
        echo.send(_echo_request(request, message))
        while True:
            echo.settimeout(left(deadline))
            packet = echo.recv(LARGEST)
            if family(probe) == socket.AF_INET and echo.type == socket.SOCK_RAW:
                packet = packet[
                    (packet[0] & 0x0F) * 4 :
                ]  # a raw socket shows the IP header, raw(7)
            if packet[:1] == bytes([reply]) and packet.endswith(message):
                return Outcome("reached")


def _echo_socket(af: socket.AddressFamily, protocol: int) -> socket.socket:
    """Return a ping socket where the user may have one (icmp(7), ping_group_range), else a raw one."""
    try:
        return socket.socket(af, socket.SOCK_DGRAM, protocol)
    except OSError as exc:
        if exc.errno not in _NO_PING_SOCKET:
            raise
    return socket.socket(af, socket.SOCK_RAW, protocol)


def _echo_request(kind: int, message: bytes) -> bytes:
    """Return an echo request; the kernel sums up what is ICMPv6, RFC 3542, section 3.1."""
    body = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + message
    padded = body + bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded)) + (kind << 8)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + body


def _unix(probe: Probe, deadline: float) -> Outcome:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as connection:
            connection.settimeout(left(deadline))
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
    with socket.socket(family(probe), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family(probe) == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((probe.address, probe.port))
        listener.listen()
        listener.settimeout(left(deadline))
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
        socket.socket(family(probe), socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.connect(destination(probe, port=probe.port or 1))
        return str(datagrams.getsockname()[0])
    return ""


_KINDS: dict[str, Callable[[Probe, float], Outcome]] = {
    "tcp": _tcp,
    "udp": _udp,
    "dns": _dns,
    "resolve": _resolve,
    "icmp": _icmp,
    "tcp_held": tcp_held,
    "udp_held": udp_held,
    "raw": raw,
    "unix": _unix,
    "write": _write,
    "interfaces": _interfaces,
    "listen": _listen,
}
