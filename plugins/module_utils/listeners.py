# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host today and would be cut by the rules of the role ``egress``."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import Run
from .errors import AirlockError
from .nft_policy import Address, Policy
from .survey_listeners import decode_address

_ESTABLISHED = "01"  # include/net/tcp_states.h
_DHCP_SERVER, _DHCP_CLIENT = 67, 68  # RFC 2131, section 4.1
_TUNNELS = frozenset(
    {
        *("wireguard", "tun", "ppp", "vxlan", "geneve", "xfrm", "vti", "vti6"),
        *("gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit"),
    }
)
# Moves to the new port by itself when the port of the gateway changes.
_OWN_UNIT = "airlock-edge.service"
_GUEST_PORTS = frozenset({"veth", "tun"})


@dataclass(frozen=True)
class Flow:
    """An open TCP connection as the host sees it."""

    address: Address
    port: int
    peer: Address


@dataclass(frozen=True)
class Link:
    """A network interface; ``kind`` as ip-link(8) names it, "" for hardware."""

    name: str
    kind: str
    up: bool
    bridge: str
    addresses: tuple[str, ...]
    leased: str

    @property
    def is_tunnel(self) -> bool:
        """Does it carry packets somewhere else? Taps of virtual machines are ports of a bridge."""
        return self.kind in _TUNNELS and self.up and not self.bridge


@dataclass(frozen=True)
class Facts:
    """What was found: listeners and containers in the form of the survey, open flows, links."""

    listeners: Sequence[Mapping[str, Any]]
    containers: Sequence[Mapping[str, Any]]
    flows: Sequence[Flow]
    links: Sequence[Link]


@dataclass(frozen=True)
class Cut:
    """Something that the rules would cut. ``name`` is what ``egress_displace`` calls it."""

    name: str
    sentence: str


def flows(root: str = "/") -> list[Flow]:
    """Return the open TCP connections of the host with peers elsewhere (proc_pid_net(5))."""
    found = []
    for table in ("tcp", "tcp6"):
        path = Path(root, "proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            address, port = decode_address(fields[1])
            peer = _plain(decode_address(fields[2])[0])
            if fields[3] == _ESTABLISHED and not peer.is_loopback:
                found.append(Flow(_plain(address), port, peer))
    return found


def links(run: Run) -> list[Link]:
    """Return the network interfaces of the host but lo, as ip-address(8) tells. Raises AirlockError."""
    status, output = run(["ip", "-json", "-details", "address", "show"])
    if status != 0:
        raise AirlockError.refuse(
            "the network interfaces cannot be listed", found=output.strip(), where="ip address show"
        )
    return [_link(entry) for entry in json.loads(output) if entry["ifname"] != "lo"]


def cuts(policy: Policy, facts: Facts) -> list[Cut]:
    """Return what ``policy`` would cut of ``facts``, sorted by name."""
    found = [
        *_listeners(policy, facts.listeners),
        *_flows(policy, facts),
        *_links(facts.links),
        *_leases(policy, facts),
        *(_container(entry) for entry in facts.containers if entry["running"] is not False),
    ]
    return sorted(found, key=lambda cut: cut.name)


def way_in(policy: Policy, address: str, port: int) -> list[str]:
    """Return why the connection of the controller from ``address`` to ``port`` would not survive."""
    if port != policy.ssh_port:
        return [
            f"The controller is connected to port {port} of this host and the rules admit SSH on "
            f"port {policy.ssh_port} only; set egress_ssh_port to {port}."
        ]
    if policy.is_admin(_plain(address)):
        return []
    return [
        f"The rules would lock you out: the controller reaches this host from {address}, which is in "
        f"none of airlock_admin_networks; add {address} or its network there."
    ]


def _plain(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _link(entry: Mapping[str, Any]) -> Link:
    addresses = [
        info
        for info in entry.get("addr_info", [])
        if info.get("local") and info["scope"] == "global"
    ]
    leases = [
        info["local"] for info in addresses if info["family"] == "inet" and info.get("dynamic")
    ]
    fallback = "ppp" if entry.get("link_type") == "ppp" else ""
    return Link(
        name=entry["ifname"],
        kind=entry.get("linkinfo", {}).get("info_kind", fallback),
        up="UP" in entry["flags"],
        bridge=entry.get("master", ""),
        addresses=tuple(info["local"] for info in addresses),
        leased=leases[0] if leases else "",
    )


def _listeners(policy: Policy, listeners: Sequence[Mapping[str, Any]]) -> Iterable[Cut]:
    services: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for listener in listeners:
        service = (listener["protocol"], listener["port"])
        if listener["reach"] != "itself" and service != ("udp", _DHCP_CLIENT):
            services.setdefault(service, []).append(listener)
    for (protocol, port), group in services.items():
        if policy.serves(protocol, port) or any(entry["unit"] == _OWN_UNIT for entry in group):
            continue
        name = f"listener:{protocol}/{port}"
        who = next((entry["process"] for entry in group if entry["process"]), "The kernel")
        unit = next((f" ({entry['unit']})" for entry in group if entry["unit"]), "")
        where = ", ".join(sorted({str(entry["address"]) for entry in group}))
        yield Cut(
            name,
            f"{who}{unit} listens on {protocol} port {port} ({where}) and the rules would cut it; add "
            f"{{protocol: {protocol}, port: {port}, from: [NETWORK]}} to egress_allow_inbound to keep "
            f"it, or {name} to egress_displace to give it up.",
        )


def _flows(policy: Policy, facts: Facts) -> Iterable[Cut]:
    """Connections to a service that stays, from a peer that may not use it. Others go with their listener."""
    own = {address for link in facts.links for address in link.addresses}
    served = {entry["port"] for entry in facts.listeners if entry["protocol"] == "tcp"}
    for flow in sorted(set(facts.flows), key=str):
        if flow.port not in served or not policy.serves("tcp", flow.port) or str(flow.peer) in own:
            continue
        if policy.admits("tcp", flow.port, flow.peer):
            continue
        name = f"flow:tcp/{flow.port}/{flow.peer}"
        admit = (
            "airlock_admin_networks"
            if flow.port == policy.ssh_port
            else "airlock_client_networks or to the entry in egress_allow_inbound"
        )
        yield Cut(
            name,
            f"{flow.peer} is connected to tcp port {flow.port} and the rules would cut it; add its "
            f"network to {admit} to keep it, or {name} to egress_displace to give it up.",
        )


def _links(links: Sequence[Link]) -> Iterable[Cut]:
    for link in links:
        ports = [port for port in links if port.bridge == link.name]
        if link.is_tunnel:
            yield Cut(
                f"tunnel:{link.name}",
                f"The tunnel {link.name} ({link.kind}) carries packets that the rules would filter or "
                f"cut; add tunnel:{link.name} to egress_displace to give it up.",
            )
        elif link.kind == "bridge" and (
            not ports or any(port.kind in _GUEST_PORTS for port in ports)
        ):
            yield Cut(
                f"bridge:{link.name}",
                f"Containers or virtual machines behind the bridge {link.name} would reach nothing but "
                f"each other; add bridge:{link.name} to egress_displace to accept that.",
            )


def _leases(policy: Policy, facts: Facts) -> Iterable[Cut]:
    if policy.sends("udp", _DHCP_SERVER):
        return
    for link in facts.links:
        if link.leased:
            yield Cut(
                f"lease:{link.name}",
                f"{link.name} has its address {link.leased} by DHCP and could not renew it; give it a "
                f"fixed address, or add {{address: ADDRESS_OF_THE_DHCP_SERVER, protocol: udp, port: "
                f"{_DHCP_SERVER}}} to egress_allow, or lease:{link.name} to egress_displace.",
            )


def _container(entry: Mapping[str, Any]) -> Cut:
    name = f"container:{entry['name']}"
    ports = ", ".join(entry["ports"]) or "no port"
    return Cut(
        name,
        f"The {entry['engine']} container {entry['name']} (publishes {ports}) could open no connection "
        f"any more, and its ports would answer nobody who is not in egress_allow_inbound; add {name} "
        f"to egress_displace to accept that.",
    )
