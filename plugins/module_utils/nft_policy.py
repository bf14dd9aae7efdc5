# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may talk to the host and whom the host may talk to, checked and ready for nftables.

The same object answers two questions: which elements the sets of the ruleset hold, and whether
something that runs today would be admitted by them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from .errors import AirlockError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True)
class Service:
    """Peers in ``networks`` and one ``protocol`` ("tcp", "udp") and ``port`` (1 to 65535)."""

    protocol: str
    port: int
    networks: tuple[Network, ...]

    def covers(self, protocol: str, port: int) -> bool:
        """Is this the service at ``protocol`` and ``port``?"""
        return (self.protocol, self.port) == (protocol, port)


@dataclass(frozen=True)
class Policy:
    """The checked intent of the role ``egress``.

    ``inbound`` holds what peers may open towards the host, ``outbound`` what the host may open
    towards peers; SSH from ``admin`` is apart because it must also survive a cold connection
    tracker.
    """

    admin: tuple[Network, ...]
    ssh_port: int
    inbound: tuple[Service, ...]
    outbound: tuple[Service, ...]
    apt_proxy: tuple[Address, int] | None

    def is_admin(self, address: Address) -> bool:
        """May ``address`` open SSH?"""
        return _within(address, self.admin)

    def serves(self, protocol: str, port: int) -> bool:
        """Is there anybody who may open ``protocol``/``port`` on the host?"""
        return (protocol, port) == ("tcp", self.ssh_port) or any(
            service.covers(protocol, port) for service in self.inbound
        )

    def admits(self, protocol: str, port: int, address: Address) -> bool:
        """May ``address`` open ``protocol``/``port`` on the host?"""
        if (protocol, port) == ("tcp", self.ssh_port) and self.is_admin(address):
            return True
        return any(
            service.covers(protocol, port) and _within(address, service.networks)
            for service in self.inbound
        )

    def sends(self, protocol: str, port: int) -> bool:
        """May the host open ``protocol``/``port`` at any peer?"""
        return any(service.covers(protocol, port) for service in self.outbound)

    def sets(self) -> dict[str, list[str]]:
        """Return the elements of the named sets in nft's syntax, sorted, one key per family.

        Keys: ``admin4``, ``admin6`` and ``known4``, ``known6``, everybody who may open anything
        (networks); ``inbound4`` to ``outbound6`` (``network . protocol . port``). Overlapping
        networks of one service are merged, because the kernel refuses overlapping elements in a
        concatenated interval set (nft(8), SETS).
        """
        result: dict[str, list[str]] = {}
        for version in (4, 6):
            known = [*self.admin, *(net for service in self.inbound for net in service.networks)]
            result[f"admin{version}"] = [str(net) for net in _collapse(self.admin, version)]
            result[f"known{version}"] = [str(net) for net in _collapse(known, version)]
            for name, services in (("inbound", self.inbound), ("outbound", self.outbound)):
                result[f"{name}{version}"] = _elements(services, version)
        return result


def build(intent: Mapping[str, Any]) -> Policy:
    """Check ``intent`` and return the policy.

    Keys: ``admin_networks`` and ``client_networks`` (lists of CIDR text), ``ssh_port`` and
    ``gateway_port`` (int), ``allow`` (``{address, protocol, port}``), ``allow_inbound``
    (``{protocol, port, from}``), ``apt_proxy`` (``http://ADDRESS:PORT`` or empty). The refusals
    name the role's variable and the index of the entry. Raises AirlockError.
    """
    admin = _networks(intent["admin_networks"], "egress_admin_networks")
    if not admin:
        raise AirlockError.refuse(
            "the rules would lock everybody out",
            expected="at least the network that the controller is in",
            found="an empty list",
            where="airlock_admin_networks",
            fix="add the address of the controller as this host sees it",
        )
    inbound = [
        _inbound(entry, f"egress_allow_inbound[{index}]")
        for index, entry in enumerate(intent["allow_inbound"])
    ]
    clients = _networks(intent["client_networks"], "egress_client_networks")
    if clients:
        inbound.append(
            Service("tcp", _port(intent["gateway_port"], "egress_gateway_port"), clients)
        )
    return Policy(
        admin=admin,
        ssh_port=_port(intent["ssh_port"], "egress_ssh_port"),
        inbound=tuple(inbound),
        outbound=tuple(
            _outbound(entry, f"egress_allow[{index}]")
            for index, entry in enumerate(intent["allow"])
        ),
        apt_proxy=proxy(intent["apt_proxy"], "egress_apt_proxy"),
    )


def proxy(url: str, where: str) -> tuple[Address, int] | None:
    """Return address and port of the package proxy at ``url``, None for an empty text.

    The host has no resolver, so the proxy is named by a literal address. Raises AirlockError.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.path in ("", "/") and parts.port and not parts.username:
            return ipaddress.ip_address(parts.hostname or ""), parts.port
    except ValueError:
        pass
    raise AirlockError.refuse(
        "the package proxy is not usable",
        expected="http://ADDRESS:PORT with a literal address, for the host resolves no names",
        found=repr(url),
        where=where,
    )


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _collapse(networks: Sequence[Network], version: int) -> list[Network]:
    if version == 4:
        return list(
            ipaddress.collapse_addresses(
                n for n in networks if isinstance(n, ipaddress.IPv4Network)
            )
        )
    return list(
        ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network))
    )


def _elements(services: Sequence[Service], version: int) -> list[str]:
    return [
        f"{network} . {protocol} . {port}"
        for protocol, port in sorted({(service.protocol, service.port) for service in services})
        for network in _collapse(
            [n for service in services if service.covers(protocol, port) for n in service.networks],
            version,
        )
    ]


def _inbound(entry: Any, where: str) -> Service:
    fields = _fields(entry, {"protocol", "port", "from"}, where)
    networks = _networks(fields["from"], f"{where}.from")
    if not networks:
        raise AirlockError.refuse(
            "nobody is admitted", expected="at least one network", where=f"{where}.from"
        )
    return Service(
        _protocol(fields["protocol"], where), _port(fields["port"], f"{where}.port"), networks
    )


def _outbound(entry: Any, where: str) -> Service:
    fields = _fields(entry, {"address", "protocol", "port"}, where)
    return Service(
        _protocol(fields["protocol"], where),
        _port(fields["port"], f"{where}.port"),
        (_network(fields["address"], f"{where}.address"),),
    )


def _fields(entry: Any, names: set[str], where: str) -> Mapping[str, Any]:
    if isinstance(entry, Mapping) and names <= set(entry) <= names | {"comment"}:
        return entry
    raise AirlockError.refuse(
        "the entry is not complete",
        expected="the keys " + ", ".join(sorted(names)) + " and, if wanted, comment",
        found=", ".join(sorted(map(str, entry))) if isinstance(entry, Mapping) else repr(entry),
        where=where,
    )


def _protocol(value: Any, where: str) -> str:
    if value in PROTOCOLS:
        return str(value)
    raise AirlockError.refuse(
        "the protocol is not known",
        expected="tcp or udp",
        found=repr(value),
        where=f"{where}.protocol",
    )


def _port(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise AirlockError.refuse(
        "this is not a port", expected="a number from 1 to 65535", found=repr(value), where=where
    )


def _networks(values: Any, where: str) -> tuple[Network, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise AirlockError.refuse("this is not a list of networks", found=repr(values), where=where)
    return tuple(_network(value, f"{where}[{index}]") for index, value in enumerate(values))


def _network(value: Any, where: str) -> Network:
    try:
        network = ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as exc:
        raise AirlockError.refuse(
            "this is not a network",
            expected="an address or a network such as 192.0.2.0/24 without host bits",
            found=repr(value),
            where=where,
        ) from exc
    if network.prefixlen == 0:
        raise AirlockError.refuse(
            "this network is the whole internet",
            expected="the networks of your own site",
            found=str(network),
            where=where,
        )
    return network
