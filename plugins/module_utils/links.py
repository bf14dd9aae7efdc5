# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network interfaces of a host: what they are, what they carry and where their addresses came from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import Run
from .errors import AirlockError
from .nft_fields import Address, plain

_TUNNELS = frozenset(
    {
        *("wireguard", "tun", "ppp", "vxlan", "geneve", "xfrm", "vti", "vti6"),
        *("gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit"),
    }
)
GUEST_PORTS = frozenset({"veth", "tun"})
_MAX_NAMESPACES = 64
# Where systemd-networkd, NetworkManager and dhclient keep what they were given, and how they call the giver.
_LEASES = (
    "run/systemd/netif/leases/*",
    "var/lib/NetworkManager/*.lease",
    "var/lib/dhcp/*.leases",
)
_LEASE_SERVER = re.compile(r"(?:\bSERVER_ADDRESS=|\bdhcp-server-identifier )([0-9.]+)")


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
    return {link.bridge for link in found if link.bridge and link.kind not in GUEST_PORTS}


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
            found.setdefault(name, []).append((plain(address.strip("[]")), int(port)))
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
