# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of the inference host as its owner wrote it: a VLAN, a port of its own, or neither."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Host: TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"

MODES = ("trunk", "access", "none")

# Narrower than the kernel (dev_valid_name() of net/core/dev.c): the name becomes part of file names and of commands.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_CHARACTERS = 15  # IFNAMSIZ of if.h, less the NUL
# The first two are directories of /proc/sys/net/ipv4/conf that mean every interface.
_TAKEN = ("all", "default", "lo")
_WAIVER_DAYS = 366


@dataclass(frozen=True)
class Network:
    """What was wanted, once `check` has nothing to say about it; mode trunk or access."""

    mode: str
    id: int
    parent: str
    interface: str
    addresses: tuple[Host, ...]
    gateways: tuple[Address, ...]

    @classmethod
    def of(cls, intent: Mapping[str, Any]) -> Network:
        """Return the network of an intent that `check` has passed."""
        return cls(
            intent["mode"],
            int(intent["id"]),
            intent["parent"],
            intent["interface"],
            tuple(ipaddress.ip_interface(value) for value in intent["addresses"]),
            tuple(ipaddress.ip_address(value) for value in intent["gateways"]),
        )

    def versions(self) -> set[int]:
        """Return the IP versions of its addresses."""
        return {address.version for address in self.addresses}


def check(intent: Mapping[str, Any], today: datetime.date) -> list[str]:
    """Return what is wrong with an intent by itself, one sentence each.

    ``intent`` maps ``mode``, ``id``, ``parent``, ``interface``, ``addresses``, ``gateways`` and
    ``waiver`` to the values of the variables of that name with ``vlan_`` before it.
    """
    mode = intent["mode"]
    if mode not in MODES:
        return [f"vlan_mode: expected {', '.join(MODES[:-1])} or {MODES[-1]}, found {mode!r}."]
    if mode == "none":
        return _waiver(intent["waiver"], today)
    if not intent["parent"]:
        return [
            f"vlan_parent: expected the interface that leads to the switch, for vlan_mode: {mode}, found nothing; "
            "name it, or set vlan_mode: none with vlan_waiver if this house has one flat network."
        ]
    return [
        *_id(intent["id"]),
        *_name("vlan_parent", intent["parent"]),
        *_name("vlan_interface", intent["interface"]),
        *_pair(mode, intent["parent"], intent["interface"]),
        *_addresses(intent["addresses"], intent["gateways"]),
    ]


def check_host(network: Network, seen: Mapping[str, Any]) -> list[str]:
    """Return why a host cannot have that network; ``seen`` as `vlan_survey.survey` gives it."""
    links = {link["name"]: link for link in seen["interfaces"]}
    ours = (seen["former"] or {}).get("interface")
    if network.parent not in links:
        return [
            f"vlan_parent: expected an interface of the host, which has {', '.join(sorted(links)) or 'none'}, found "
            f"{network.parent}; correct the name."
        ]
    findings = []
    if network.mode == "trunk":
        if links[network.parent]["wifi"]:
            findings.append(
                f"vlan_parent: {network.parent} is Wi-Fi, which carries no VLAN tags; use a cable, or set vlan_mode: "
                "none with vlan_waiver."
            )
        if network.interface in links and ours != network.interface:
            findings.append(
                f"vlan_interface: there is an interface {network.interface} on the host already, which this collection "
                "has not made; remove it, or choose another name."
            )
    for link in seen["interfaces"]:
        if link["name"] not in (network.interface, ours):
            findings += _overlaps(network, link)
    return findings


def _waiver(waiver: Any, today: datetime.date) -> list[str]:
    if not isinstance(waiver, Mapping) or set(waiver) != {"reason", "until"}:
        return [
            "vlan_waiver: expected reason and until, because with vlan_mode: none the host has no network of its own, "
            f"found {waiver!r}; write {{reason: ..., until: YYYY-MM-DD}}, or set vlan_mode: trunk."
        ]
    findings = []
    if not str(waiver["reason"]).strip():
        findings.append(
            "vlan_waiver.reason is empty: expected why this host has no network of its own."
        )
    try:
        until = datetime.date.fromisoformat(str(waiver["until"]))
    except ValueError:
        return [
            *findings,
            f"vlan_waiver.until: expected a day as YYYY-MM-DD, found {waiver['until']}.",
        ]
    if (until - today).days > _WAIVER_DAYS:
        findings.append(
            f"vlan_waiver.until: expected a day within {_WAIVER_DAYS} days of today, found {until}; a waiver is "
            "looked at again when it ends."
        )
    return findings


def _id(value: Any) -> list[str]:
    """Check the identifier of a VLAN; 0 and 4095 are reserved (IEEE 802.1Q, 9.6)."""
    if not isinstance(value, bool) and str(value).isdecimal() and 1 <= int(value) <= 4094:
        return []
    return [
        f"vlan_id: expected a number from 1 to 4094, found {value!r}; use the one that the switch knows."
    ]


def _name(variable: str, name: Any) -> list[str]:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
        return [
            f"{variable}: expected the name of an interface of letters, digits, '.', '_' and '-', which is not "
            f"{', '.join(_TAKEN)}, found {name!r}."
        ]
    if len(name) > _MOST_CHARACTERS:
        return [
            f"{variable}: expected at most {_MOST_CHARACTERS} characters, found {len(name)} in {name}; choose a "
            "shorter one."
        ]
    return []


def _pair(mode: str, parent: str, interface: str) -> list[str]:
    if mode == "access" and interface != parent:
        return [
            f"vlan_interface: expected {parent}, because with vlan_mode: access the port itself has the addresses, "
            f"found {interface}; leave it out."
        ]
    if mode == "trunk" and interface == parent:
        return [
            f"vlan_interface: expected another name than vlan_parent, {parent}, because tagged frames come in over an "
            "interface of their own; leave it out."
        ]
    return []


def _addresses(addresses: Any, gateways: Any) -> list[str]:
    for variable, value in (("vlan_addresses", addresses), ("vlan_gateways", gateways)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return [f"{variable}: expected a list, found {value!r}; write [{value}]."]
    if not addresses:
        return ["vlan_addresses is empty: expected at least one address, like 192.168.30.10/24."]
    findings: list[str] = []
    hosts: dict[str, Host] = {}
    for index, value in enumerate(addresses):
        where = f"vlan_addresses[{index}]"
        try:
            host = ipaddress.ip_interface(value if isinstance(value, str) and "/" in value else "")
        except ValueError:
            findings.append(
                f"{where}: expected an address with the length of its network, like 192.168.30.10/24, found {value}."
            )
            continue
        hosts[where] = host
        findings += _host(where, host)
    for (_before, one), (where, other) in combinations(hosts.items(), 2):
        if one.ip == other.ip:
            findings.append(f"{where}: {other.ip} is there twice; remove one.")
        elif one.network != other.network and _overlap(one.network, other.network):
            findings.append(
                f"{where}: {other} overlaps {one}; give both the same length, or one of them another network."
            )
    return findings or _gateways(gateways, list(hosts.values()))


def _host(where: str, host: Host) -> list[str]:
    ip, network = host.ip, host.network
    if ip.is_link_local or ip.is_multicast or ip.is_loopback or ip.is_unspecified:
        return [f"{where}: expected an address of the VLAN, found {ip}, which is of no such kind."]
    if (
        network.prefixlen >= network.max_prefixlen - 1
    ):  # RFC 3021, RFC 6164: no special address in so small a network
        return []
    if ip == network.network_address:
        return [
            f"{where}: expected an address of a host, found {ip}, which is that of the network {network} itself."
        ]
    if network.version == 4 and ip == network.broadcast_address:
        return [
            f"{where}: expected an address of a host, found {ip}, which is the broadcast address of {network}."
        ]
    return []


def _gateways(gateways: Sequence[Any], hosts: Sequence[Host]) -> list[str]:
    findings = []
    versions: list[int] = []
    for index, value in enumerate(gateways):
        where = f"vlan_gateways[{index}]"
        try:
            gateway = ipaddress.ip_address(value)
        except ValueError:
            findings.append(f"{where}: expected an IP address, found {value}.")
            continue
        within = [host for host in hosts if gateway in host.network]
        if not within:
            networks = ", ".join(str(host.network) for host in hosts)
            findings.append(
                f"{where}: expected an address inside {networks}, found {gateway}; it could not be reached."
            )
        elif any(gateway == host.ip for host in hosts):
            findings.append(
                f"{where}: expected the address of the router, found {gateway}, which is this host's own."
            )
        else:
            findings += _host(
                where, ipaddress.ip_interface(f"{gateway}/{within[0].network.prefixlen}")
            )
        if gateway.version in versions:
            findings.append(
                f"{where}: expected one gateway for IPv{gateway.version}, found another one, {gateway}."
            )
        versions.append(gateway.version)
    return findings


def _overlaps(network: Network, link: Mapping[str, Any]) -> list[str]:
    theirs = [ipaddress.ip_interface(value) for value in link["addresses"]]
    return [
        f"vlan_addresses[{index}]: {mine} overlaps {other} of {link['name']}, so that two interfaces would lead to the "
        f"same network; choose another network, or take the address off {link['name']} first."
        for index, mine in enumerate(network.addresses)
        for other in theirs
        if _overlap(mine.network, other.network)
    ]


def _overlap(
    one: ipaddress.IPv4Network | ipaddress.IPv6Network,
    other: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    return one.version == other.version and (
        int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
    )
