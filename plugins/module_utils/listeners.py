# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host today and would be cut by the rules of the role ``egress``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .links import GUEST_PORTS, Link, wired_bridges
from .nft_fields import Address, plain
from .nft_policy import Policy
from .survey_listeners import decode_address

_ESTABLISHED = "01"  # include/net/tcp_states.h
_DHCP_SERVER, _DHCP_CLIENT = 67, 68  # RFC 2131, section 4.1
# Their frames join the wire below every hook that the rules have (ip-link(8)).
_BESIDE = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
# Moves to the new port by itself when the port of the gateway changes.
_OWN_UNIT = "airlock-edge.service"


@dataclass(frozen=True)
class Flow:
    """An open TCP connection as the host sees it."""

    address: Address
    port: int
    peer: Address


@dataclass(frozen=True)
class Facts:
    """What was found: listeners and containers in the form of the survey, open flows, links, links
    in the network namespaces of others, and the names of other firewalls that are active.
    """

    listeners: Sequence[Mapping[str, Any]]
    containers: Sequence[Mapping[str, Any]]
    flows: Sequence[Flow]
    links: Sequence[Link]
    foreign_links: Sequence[Link] = ()
    firewalls: Sequence[str] = ()


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
            peer = plain(decode_address(fields[2])[0])
            if fields[3] == _ESTABLISHED and not peer.is_loopback:
                found.append(Flow(plain(address), port, peer))
    return found


def cuts(policy: Policy, facts: Facts) -> list[Cut]:
    """Return what ``policy`` would cut of ``facts``, sorted by name."""
    found = [
        *_listeners(policy, facts.listeners),
        *_flows(policy, facts),
        *_tunnels(policy, facts.links),
        *_beside(facts),
        *_bridges(policy, facts.links),
        *_leases(policy, facts),
        *_containers(policy, facts.containers),
        *(_firewall(policy, name) for name in facts.firewalls),
    ]
    return sorted(found, key=lambda cut: cut.name)


def way_in(policy: Policy, address: str, port: int) -> list[str]:
    """Return why the connection of the controller from ``address`` to ``port`` would not survive."""
    if port != policy.ssh_port:
        return [
            f"The controller is connected to port {port} of this host and the rules admit SSH on "
            f"port {policy.ssh_port} only; set egress_ssh_port to {port}."
        ]
    if policy.is_admin(plain(address)):
        return []
    return [
        f"The rules would lock you out: the controller reaches this host from {address}, which is in "
        f"none of airlock_admin_networks; add {address} or its network there."
    ]


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


def _tunnels(policy: Policy, links: Sequence[Link]) -> Iterable[Cut]:
    for link in links:
        if not link.is_tunnel:
            continue
        name = f"tunnel:{link.name}"
        missing = [
            f"{{address: {address}, protocol: udp, port: {port}}}"
            for address, port in link.peers
            if not policy.sends("udp", port, address)
        ]
        if link.peers and not missing:
            continue
        if link.name.startswith("tailscale"):
            keep = (
                "Tailscale dials servers all over the internet, which no entry can name; administer "
                "this host from airlock_admin_networks"
            )
        else:
            far_end = " and ".join(missing) or "{address: FAR_END, protocol: udp, port: PORT}"
            keep = f"add {far_end} to egress_allow to keep it"
        yield Cut(
            name,
            f"The tunnel {link.name} ({link.kind}) could not reach its far end any more, and what "
            f"comes through it is filtered like everything else; {keep}, and {name} to "
            f"egress_displace to give it up or to say that you have done so.",
        )


def _beside(facts: Facts) -> Iterable[Cut]:
    own = {(link.kind, link.name) for link in facts.links if link.kind in _BESIDE}
    foreign = {
        (link.kind or "hardware", link.name)
        for link in facts.foreign_links
        if link.kind in _BESIDE or not link.kind
    }
    for kind, name in sorted(own | foreign):
        yield Cut(
            f"{kind}:{name}",
            f"What uses the {kind} interface {name} stands on the wire of this host, beside its rules "
            f"and not behind them; put it on a bridge, or treat it as a host of its own and add "
            f"{kind}:{name} to egress_displace to accept that.",
        )


def _bridges(policy: Policy, links: Sequence[Link]) -> Iterable[Cut]:
    known = {passage.bridge for passage in policy.passages}
    for link in links:
        kinds = [port.kind for port in links if port.bridge == link.name]
        if link.kind != "bridge" or link.name in known:
            continue
        if kinds and not GUEST_PORTS.intersection(kinds):
            continue
        name = f"bridge:{link.name}"
        if link.name in wired_bridges(links):
            yield Cut(
                name,
                f"Virtual machines on the bridge {link.name} stand on the wire of this host, beside "
                f"its rules and not behind them; treat them as hosts of their own, and add {name} to "
                f"egress_displace to accept that.",
            )
            continue
        yield Cut(
            name,
            f"Containers or virtual machines behind the bridge {link.name} would reach nothing but "
            f"each other; add {{from: {link.name}, address: ADDRESS, protocol: tcp, port: PORT}} to "
            f"egress_allow_containers for what they may open, or {name} to egress_displace to accept "
            f"that.",
        )


def _leases(policy: Policy, facts: Facts) -> Iterable[Cut]:
    if policy.sends("udp", _DHCP_SERVER):
        return
    for link in facts.links:
        if link.leased:
            yield Cut(
                f"lease:{link.name}",
                f"{link.name} has its address {link.leased} by DHCP and could not renew it; give it a "
                f"fixed address, or add {{address: {link.lease_server or 'ADDRESS_OF_THE_DHCP_SERVER'}, "
                f"protocol: udp, port: {_DHCP_SERVER}}} to egress_allow, or lease:{link.name} to "
                f"egress_displace.",
            )


def _containers(policy: Policy, containers: Sequence[Mapping[str, Any]]) -> Iterable[Cut]:
    """Containers that publish nothing or something that nobody may open; their bridges are apart."""
    for entry in containers:
        ports = [_published(port) for port in entry["ports"]]
        missing = [port for port in ports if not policy.serves(*port)]
        if entry["running"] is False or (ports and not missing):
            continue
        name = f"container:{entry['name']}"
        keep = " and ".join(
            f"{{protocol: {protocol}, port: {port}, from: [NETWORK]}}"
            for protocol, port in dict.fromkeys(missing)
        )
        yield Cut(
            name,
            f"The {entry['engine']} container {entry['name']} (publishes "
            f"{', '.join(entry['ports']) or 'no port'}) would reach nobody but its neighbours, and "
            f"nobody would reach it; add {keep + ' to egress_allow_inbound to keep its ports, or ' if keep else ''}"
            f"{name} to egress_displace to accept that.",
        )


def _published(text: str) -> tuple[str, int]:
    """Return protocol and port of ``address:port/protocol``."""
    port, _slash, protocol = text.rpartition(":")[2].partition("/")
    return protocol, int(port)


def _firewall(policy: Policy, name: str) -> Cut:
    return Cut(
        f"firewall:{name}",
        f"{name} is active on this host; it stays as it is, and what either of the two refuses is "
        f"refused: let it admit {', '.join(policy.served())} as well, and add firewall:{name} to "
        f"egress_displace to run both, or switch it off yourself.",
    )
