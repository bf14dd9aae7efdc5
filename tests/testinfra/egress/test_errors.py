# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says by itself carries nothing out, and no restart leaves a gap: told by a host outside."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from testinfra.host import Host

from ..conftest import witnessed

# Sends TOKEN from the address of somebody else, as any user may over IPv6 (IPV6_FREEBIND, ipv6(7)).
LIAR = """
import socket, sys
me, to, port, token = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].encode()
for attempt in range(20):
    liar = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    liar.setsockopt(socket.IPPROTO_IPV6, 78, 1)
    liar.bind((me, 0))
    try:
        liar.sendto(token, (to, port))
    except OSError:
        pass
"""
# Sends TOKEN from a container in a packet that is made by hand: another source, and a way that ends at the host.
FORGER = """
import socket, struct, sys
me, to, ttl, token = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].encode()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
udp = struct.pack("!4H", 4000, 80, 8 + len(token), 0) + token
ends = socket.inet_aton(me) + socket.inet_aton(to)
head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, ttl, 17, 0) + ends
for attempt in range(20):
    raw.sendto(head + udp, (to, 0))
"""
# Counts what comes to this host and holds TOKEN, whatever protocol it is, until its standard input ends.
WITNESS = """
import select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
token, seen = sys.argv[1].encode(), 0
print("ready", flush=True)
while wire in select.select([wire, sys.stdin], [], [])[0]:
    packet, origin = wire.recvfrom(65535)
    seen += origin[2] != socket.PACKET_OUTGOING and token in packet
print(seen)
"""
FLOOD = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[3])
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while time.monotonic() < end:
    try:
        flood.sendto(sys.argv[2].encode(), (sys.argv[1], 9))
    except OSError:
        pass
"""


def python(program: str, *arguments: object, user: str = "") -> str:
    as_user = ["setpriv", f"--reuid={user}", "--clear-groups"] if user else []
    return shlex.join([*as_user, "python3", "-c", program, *map(str, arguments)])


@pytest.fixture(scope="module")
def outside(intent: dict[str, Any]) -> dict[str, Any]:
    [target] = intent["airlock_probe_targets"]
    return target


@contextmanager
def open_host(inference: Host) -> Iterator[None]:
    """The host without our table, for the positive control."""
    inference.check_output("nft delete table inet airlock")
    try:
        yield
    finally:
        inference.check_output("systemctl reload airlock-egress")


def told(act: Callable[[str], object]) -> int:
    """Return how many packets with a fresh token in them come to the host outside while ``act`` uses it."""
    token = secrets.token_hex(16)
    # What is held back until a neighbour is known gets out or ends within 3 s.
    with witnessed(WITNESS, token, linger=5) as found:
        act(token)
    return int(found["seen"])


def lies_to_the_host_itself(inference: Host, outside: dict[str, Any], token: str) -> None:
    own = inference.check_output(f"ip -6 route get {outside['address6']}")
    own = own.partition(" src ")[2].split()[0]
    inference.run(python(LIAR, outside["address6"], own, 9, token, user="nobody"))


def lies_on_the_way_out(inference: Host, outside: dict[str, Any], token: str) -> None:
    inference.run(python(LIAR, outside["address6"], outside["address6"], 9, token, user="nobody"))


def forges_what_ends_here(inference: Host, outside: dict[str, Any], token: str) -> None:
    forge(inference, outside, token, ttl=1)


def forges_what_is_refused(inference: Host, outside: dict[str, Any], token: str) -> None:
    forge(inference, outside, token, ttl=64)


def forge(inference: Host, outside: dict[str, Any], token: str, ttl: int) -> None:
    pid = inference.check_output("docker inspect --format {{.State.Pid}} dialler")
    program = python(FORGER, outside["address4"], "198.51.100.1", ttl, token)
    inference.check_output(f"nsenter --target={pid} --net {program}")


@pytest.mark.parametrize(
    ("attack", "without_rules"),
    [
        (lies_to_the_host_itself, True),
        (lies_on_the_way_out, True),
        (forges_what_ends_here, True),
        # Without rules nothing refuses it, so that there is no error either.
        (forges_what_is_refused, False),
    ],
)
def test_no_error_carries_what_it_quotes(
    inference: Host,
    outside: dict[str, Any],
    attack: Callable[[Host, dict[str, Any], str], None],
    without_rules: bool,
) -> None:
    assert told(lambda token: attack(inference, outside, token)) == 0
    if without_rules:
        with open_host(inference):
            assert told(lambda token: attack(inference, outside, token)) > 0


def test_no_restart_leaves_a_gap(inference: Host, outside: dict[str, Any]) -> None:
    def flood(token: str, seconds: float) -> str:
        return python(FLOOD, outside["address4"], token, seconds, user="nobody")

    def restarts(token: str) -> None:
        inference.check_output(
            f"{flood(token, 8)} & "
            "for verb in restart reload stop start restart; do systemctl $verb nftables; done; wait"
        )

    try:
        assert told(restarts) == 0
    finally:
        inference.check_output("systemctl restart docker")  # its rules went with the flush
    with open_host(inference):
        assert told(lambda token: inference.run(flood(token, 1))) > 0
