# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host today and would be cut by the rules of the role ``egress``."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import Run
from .errors import AirlockError
from .nft_fields import Address
from .nft_policy import Policy
from .survey_listeners import decode_address

_ESTABLISHED = "01"  # include/net/tcp_states.h
_DHCP_SERVER, _DHCP_CLIENT = 67, 68  # RFC 2131, section 4.1
_TUNNELS = frozenset(
    {
        *("wireguard", "tun", "ppp", "vxlan", "geneve", "xfrm", "vti", "vti6"),
        *("gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit"),
    }
)
# Their frames join the wire below every hook that the rules have (ip-link(8)).
_BESIDE = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
_MAX_NAMESPACES = 64
# Moves to the new port by itself when the port of the gateway changes.
_OWN_UNIT = "airlock-edge.service"
_GUEST_PORTS = frozenset({"veth", "tun"})
# Where systemd-networkd, NetworkManager and dhclient keep what they were given, and how they call the giver.
_LEASES = (
    "run/systemd/netif/leases/*",
    "var/lib/NetworkManager/*.lease",
    "var/lib/dhcp/*.leases",
)
_LEASE_SERVER = re.compile(r"(?:\bSERVER_ADDRESS=|\bdhcp-server-identifier )([0-9.]+)")


@dataclass(frozen=True)
class Flow:
    """An open TCP connection as the host sees it."""

    address: Address
    port: int
    peer: Address


@dataclass(frozen=True)
class Link:
    """A network interface; ``kind`` as ip-link(8) names it, "" for hardware.

    ``leased`` is its address if it came by DHCP, from ``lease_server`` if that is known; ``peers``
    are the far ends of a WireGuard tunnel.
    """

    name: str
    kind: str
    up: bool
    bridge: str
    addresses: tuple[str, ...]
    leased: str
    lease_server: str = ""
    peers: tuple[tuple[Address, int], ...] = ()

    @property
    def is_tunnel(self) -> bool:
        """Does it carry packets somewhere else? Taps of virtual machines are ports of a bridge."""
        return self.kind in _TUNNELS and self.up and not self.bridge


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
            peer = _plain(decode_address(fields[2])[0])
            if fields[3] == _ESTABLISHED and not peer.is_loopback:
                found.append(Flow(_plain(address), port, peer))
    return found


def links(run: Run, root: str = "/") -> list[Link]:
    """Return the network interfaces of the host but lo, as ip-address(8) tells. Raises AirlockError."""
    status, output = run(["ip", "-json", "-details", "address", "show"])
    if status != 0:
        raise AirlockError.refuse(
            "the network interfaces cannot be listed", found=output.strip(), where="ip address show"
        )
    entries = [entry for entry in json.loads(output) if entry["ifname"] != "lo"]
    wireguard = any(_kind(entry) == "wireguard" for entry in entries)
    peers = _endpoints(run) if wireguard else {}
    return [_link(entry, root, tuple(peers.get(entry["ifname"], ()))) for entry in entries]


def foreign_links(run: Run, root: str = "/") -> list[Link]:
    """Return the network interfaces but lo in the network namespaces of other processes.

    Of 64 namespaces at most, and none of those that cannot be entered: a process may end at any time.
    """
    seen = {_namespace(Path(root, "proc/self"))}
    found = []
    for process in sorted(Path(root, "proc").glob("[0-9]*")):
        namespace = _namespace(process)
        if not namespace or namespace in seen or len(seen) > _MAX_NAMESPACES:
            continue
        seen.add(namespace)
        enter = ["nsenter", f"--net={process}/ns/net", "ip", "-json", "-details", "link", "show"]
        status, output = run(enter)
        entries = json.loads(output) if status == 0 and output.strip() else []
        found += [_link(entry, root, ()) for entry in entries if entry["ifname"] != "lo"]
    return found


def wired_bridges(found: Sequence[Link]) -> set[str]:
    """Return the bridges with a port that is not a guest's: whoever is behind them is on that wire."""
    return {link.bridge for link in found if link.bridge and link.kind not in _GUEST_PORTS}


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


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns/net").readlink())
    except OSError:
        return ""


def _kind(entry: Mapping[str, Any]) -> str:
    fallback = "ppp" if entry.get("link_type") == "ppp" else ""
    return str(entry.get("linkinfo", {}).get("info_kind", fallback))


def _link(entry: Mapping[str, Any], root: str, peers: tuple[tuple[Address, int], ...]) -> Link:
    addresses = [
        info
        for info in entry.get("addr_info", [])
        if info.get("local") and info["scope"] == "global"
    ]
    leases = [
        info["local"] for info in addresses if info["family"] == "inet" and info.get("dynamic")
    ]
    return Link(
        name=entry["ifname"],
        kind=_kind(entry),
        up="UP" in entry["flags"],
        bridge=entry.get("master", ""),
        addresses=tuple(info["local"] for info in addresses),
        leased=leases[0] if leases else "",
        lease_server=_lease_server(root, leases[0]) if leases else "",
        peers=peers,
    )


def _endpoints(run: Run) -> dict[str, list[tuple[Address, int]]]:
    """Return the far ends of WireGuard tunnels by interface (wg(8), show)."""
    status, output = run(["wg", "show", "all", "endpoints"])
    found: dict[str, list[tuple[Address, int]]] = {}
    for line in output.splitlines() if status == 0 else []:
        name, _key, endpoint = line.split("\t")
        address, _colon, port = endpoint.rpartition(":")
        if port.isdigit():  # otherwise "(none)"
            found.setdefault(name, []).append((_plain(address.strip("[]")), int(port)))
    return found


def _lease_server(root: str, address: str) -> str:
    """Return who gave ``address`` away, "" when no client has written it down."""
    for pattern in _LEASES:
        for path in sorted(Path(root).glob(pattern)):
            text = path.read_text("utf-8", "replace")
            servers = _LEASE_SERVER.findall(text)
            if servers and re.search(rf"\b{re.escape(address)}\b", text):
                return str(servers[-1])
    return ""


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
        if kinds and not _GUEST_PORTS.intersection(kinds):
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
