# SPDX-License-Identifier: GPL-3.0-or-later
"""What crosses the wire of the machine, seen from the switch, and what the machine refuses to put on it."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Machine

# What a host has to say before and beside any connection: who has an address (ARP, neighbour discovery), and which
# groups it listens to.
SIGNALLING = (
    "arp or (icmp6 and (ip6[40] == 135 or ip6[40] == 136 or ip6[40] == 133)) or "
    "(ip6 and ip6[6] == 0 and ip6[48] == 143)"
)
NOISE = "udp port 4444"

ATTEMPT = """
import json, socket, sys
found = {}
for target in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
        with socket.socket(family, kind) as s:
            s.settimeout(3)
            try:
                s.connect((target, 4445))
                s.send(b"leak")
                found[name + " " + target] = s.recv(9).decode() if name == "udp" else "reached"
            except OSError as exc:
                found[name + " " + target] = type(exc).__name__
print(json.dumps(found))
"""


def on_vlan(expression: str) -> str:
    return f"vlan 30 and ({expression})"


def test_what_the_vlan_carries_is_tagged(machine: Machine) -> None:
    since = time.time()
    assert machine.answers(f"{machine.vlan}.10")
    host = f"host {machine.vlan}.10 and tcp port 22"
    assert machine.waits(lambda: machine.wire(on_vlan(host), since=since), 30)
    assert machine.wire(host, since=since) == []


def test_the_untagged_side_does_not_reach_the_address_of_the_vlan(machine: Machine) -> None:
    def opens(address: str) -> bool:
        with socket.socket() as client:
            client.settimeout(5)
            port = f"av{machine.flat.split('.')[1]}-flat"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.encode())
            try:
                client.connect((address, 22))
            except OSError:
                return False
            return True

    assert opens(f"{machine.flat}.10")
    assert not opens(f"{machine.vlan}.10")


def test_root_gets_out_on_neither_network(machine: Machine, intent: dict[str, list[str]]) -> None:
    targets = [network.partition("/")[0] for network in intent["airlock_admin_networks"]]
    here = [socket.create_server(("::", 4445), family=socket.AF_INET6, dualstack_ipv6=True)]
    with here[0], socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as echo:
        echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        echo.bind(("::", 4445))
        echo.setblocking(False)

        def tries() -> dict[str, str]:
            with machine.started(ATTEMPT, *targets) as process:
                while process.poll() is None:
                    try:
                        data, peer = echo.recvfrom(9)
                        echo.sendto(data, peer)
                    except BlockingIOError:
                        time.sleep(0.05)
                assert process.stdout is not None
                result: dict[str, str] = json.load(process.stdout)
            return result

        refused = tries()
        machine.run("nft delete table inet airlock")
        try:
            reached = tries()
        finally:
            machine.run("systemctl restart airlock-egress.service")
    assert len(refused) == 2 * len(targets) == 8
    assert set(reached.values()) == {"reached", "leak"}
    assert not set(refused.values()) & {"reached", "leak"}, refused


def test_nothing_leaves_between_power_on_and_the_first_rule(machine: Machine) -> None:
    # The noise got out when nothing of ours was there: on the first boot of this machine.
    first = machine.wire(f"ether src {machine.mac} and {NOISE}")
    assert first

    machine.power("cut")
    since = time.time()
    machine.boots()
    made: list[str] = []

    def enough() -> bool:
        made[:] = machine.run("cat /run/noise").split()  # empty while it is written anew
        return bool(made) and int(made[0]) > 500

    assert machine.waits(enough, 240)
    attempts = made[0]
    ours = f"tcp port 22 or {SIGNALLING}"
    # Not "not vlan", which moves what is behind it by the length of a tag (pcap-filter(7)).
    for network in ("ether[12:2] != 0x8100", "vlan 30"):
        seen = f"ether src {machine.mac} and {network}"
        assert machine.wire(f"{seen} and ({ours})", since=since)
        left = machine.wire(f"{seen} and not ({ours})", since=since)
        assert left == [], f"{len(left)} frames after {attempts} attempts"


def test_the_kernel_keeps_the_networks_apart(machine: Machine) -> None:
    wanted = {
        "net/ipv4/conf/ai30/rp_filter": "1",
        "net/ipv4/conf/ai30/arp_ignore": "1",
        "net/ipv4/conf/ai30/arp_announce": "2",
        "net/ipv6/conf/ai30/accept_ra": "0",
    }
    found = machine.run("cat " + " ".join(f"/proc/sys/{key}" for key in wanted)).split()
    assert dict(zip(wanted, found, strict=True)) == wanted


def test_no_default_route_came_with_it(machine: Machine) -> None:
    assert machine.run("ip route show default; ip -6 route show default") == ""
