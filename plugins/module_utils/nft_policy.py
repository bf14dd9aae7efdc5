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
from typing import Any
from urllib.parse import urlsplit

from . import nft_fields
from .errors import AirlockError
from .nft_fields import Address, Network

# Whoever may use these speaks for everybody who can ask them: resolver (RFC 1035, RFC 7858) and log shipper
# (RFC 5426, RFC 5425).
_ONE_ACCOUNT = {53: "resolver", 853: "resolver", 514: "log shipper", 6514: "log shipper"}
_CONSENT_TO_BRIDGE = "bridge:"


@dataclass(frozen=True)
class Service:
    """Peers in ``networks`` and one ``protocol`` ("tcp", "udp") and ``port`` (1 to 65535).

    Only ``user`` may open it, an account of the host or its number; "" is everybody but releases,
    gatekeeper and edge.
    """

    protocol: str
    port: int
    networks: tuple[Network, ...]
    user: str = ""

    def covers(self, protocol: str, port: int) -> bool:
        """Is this the service at ``protocol`` and ``port``?"""
        return (self.protocol, self.port) == (protocol, port)


@dataclass(frozen=True)
class Passage:
    """What containers may open: those with an address in ``network``, or those behind ``bridge``."""

    network: Network | None
    bridge: str
    service: Service


@dataclass(frozen=True)
class Policy:
    """The checked intent of the role ``egress``.

    ``inbound`` holds what peers may open towards the host, ``outbound`` what the host may open
    towards peers, ``passages`` what containers may open; SSH from ``admin`` is apart because it
    must also survive a cold connection tracker. ``displaced`` are names of things that may be cut.
    """

    admin: tuple[Network, ...]
    ssh_port: int
    inbound: tuple[Service, ...]
    outbound: tuple[Service, ...]
    passages: tuple[Passage, ...]
    apt_proxy: tuple[Address, int] | None
    displaced: frozenset[str]

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

    def served(self) -> list[str]:
        """Return what peers may open as ``protocol/port``, sorted."""
        services = {(service.protocol, service.port) for service in self.inbound}
        return [
            f"{protocol}/{port}" for protocol, port in sorted(services | {("tcp", self.ssh_port)})
        ]

    def sends(self, protocol: str, port: int, address: Address | None = None) -> bool:
        """May the host open ``protocol``/``port`` at ``address``, or at any peer?"""
        return any(
            service.covers(protocol, port)
            and (address is None or _within(address, service.networks))
            for service in self.outbound
        )

    def accounts(self) -> list[str]:
        """Return the accounts that the host has to know, sorted."""
        return sorted({s.user for s in self.outbound if s.user and not s.user.isdigit()})

    def bridges(self) -> list[str]:
        """Return the bridges whose containers may go on talking to each other, sorted.

        Those are the ones that somebody has thought about: named in a passage or displaced.
        """
        displaced = {
            name[len(_CONSENT_TO_BRIDGE) :]
            for name in self.displaced
            if name.startswith(_CONSENT_TO_BRIDGE)
        }
        return sorted(displaced | {p.bridge for p in self.passages if p.bridge})

    def sets(self, uids: Mapping[str, int]) -> dict[str, list[str]]:
        """Return the elements of the named sets in nft's syntax, sorted, one key per family.

        Keys: ``admin4``, ``admin6`` and ``known4``, ``known6``, everybody who may open anything
        (networks); ``inbound4``, ``outbound4`` for everybody on the host, and ``answers4``, who may
        answer (``network . protocol . port``); ``principal4`` with the uid before it; the same with
        6. ``uids`` has the number of each of `accounts`. Overlapping networks of one service are
        merged, because the kernel refuses overlapping elements in a concatenated interval set
        (nft(8), SETS).
        """
        result: dict[str, list[str]] = {}
        principals: dict[int, list[Service]] = {}
        for service in self.outbound:
            if service.user:
                uid = int(service.user) if service.user.isdigit() else uids[service.user]
                principals.setdefault(uid, []).append(service)
        anybody = [service for service in self.outbound if not service.user]
        for version in (4, 6):
            known = [*self.admin, *(net for service in self.inbound for net in service.networks)]
            result[f"admin{version}"] = [str(net) for net in _collapse(self.admin, version)]
            result[f"known{version}"] = [str(net) for net in _collapse(known, version)]
            result[f"inbound{version}"] = _elements(self.inbound, version)
            result[f"outbound{version}"] = _elements(anybody, version)
            result[f"answers{version}"] = _elements(self.outbound, version)
            result[f"principal{version}"] = [
                f"{uid} . {element}"
                for uid, services in sorted(principals.items())
                for element in _elements(services, version)
            ]
        return result

    def passages_by_source(self) -> list[dict[str, Any]]:
        """Return what the containers of each source may open, one entry per source and family.

        Each has ``version`` (4, 6), ``network`` or ``bridge`` (the other is ""), and ``elements``
        in the form of those of `sets`.
        """
        sources: dict[tuple[str, str], list[Service]] = {}
        for passage in self.passages:
            key = (str(passage.network or ""), passage.bridge)
            sources.setdefault(key, []).append(passage.service)
        return [
            {"version": version, "network": network, "bridge": bridge, "elements": elements}
            for (network, bridge), services in sorted(sources.items())
            for version in (4, 6)
            if (elements := _elements(services, version))
        ]


def build(intent: Mapping[str, Any]) -> Policy:
    """Check ``intent`` and return the policy.

    Keys: ``admin_networks`` and ``client_networks`` (lists of CIDR text), ``ssh_port`` and
    ``gateway_port`` (int), ``allow`` (``{address, protocol, port}`` and perhaps ``user``),
    ``allow_inbound`` (``{protocol, port, from}``), ``allow_containers`` (``{from, address, protocol,
    port}``), ``apt_proxy`` (``http://ADDRESS:PORT`` or empty), ``displace`` (names as `listeners.cuts`
    gives them). The refusals name the role's variable and the index of the entry. Raises
    AirlockError.
    """
    admin = nft_fields.networks(intent["admin_networks"], "egress_admin_networks")
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
    clients = nft_fields.networks(intent["client_networks"], "egress_client_networks")
    if clients:
        inbound.append(
            Service("tcp", nft_fields.port(intent["gateway_port"], "egress_gateway_port"), clients)
        )
    return Policy(
        admin=admin,
        ssh_port=nft_fields.port(intent["ssh_port"], "egress_ssh_port"),
        inbound=tuple(inbound),
        outbound=tuple(
            _outbound(entry, f"egress_allow[{index}]")
            for index, entry in enumerate(intent["allow"])
        ),
        passages=tuple(
            _passage(entry, f"egress_allow_containers[{index}]")
            for index, entry in enumerate(intent["allow_containers"])
        ),
        displaced=_displaced(intent["displace"], "egress_displace"),
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
    fields = nft_fields.fields(entry, {"protocol", "port", "from"}, where)
    networks = nft_fields.networks(fields["from"], f"{where}.from")
    if not networks:
        raise AirlockError.refuse(
            "nobody is admitted", expected="at least one network", where=f"{where}.from"
        )
    return Service(
        nft_fields.protocol(fields["protocol"], where),
        nft_fields.port(fields["port"], f"{where}.port"),
        networks,
    )


def _outbound(entry: Any, where: str) -> Service:
    fields = nft_fields.fields(entry, {"address", "protocol", "port"}, where, optional={"user"})
    service = _service(fields, where, nft_fields.account(fields.get("user"), f"{where}.user"))
    role = _ONE_ACCOUNT.get(service.port)
    if role and not service.user:
        raise AirlockError.refuse(
            f"port {service.port} is for the {role} alone, who speaks for whoever asks it",
            expected=f"user: ACCOUNT, the account of the {role} on the host",
            found="no user",
            where=where,
        )
    return service


def _passage(entry: Any, where: str) -> Passage:
    fields = nft_fields.fields(entry, {"from", "address", "protocol", "port"}, where)
    service, source = _service(fields, where), fields["from"]
    if nft_fields.is_bridge(source):
        return Passage(None, source, service)
    network = nft_fields.network(
        source, f"{where}.from", "the name of a bridge, an address or a network"
    )
    if network.version != service.networks[0].version:
        raise AirlockError.refuse(
            "the two ends are of different families",
            expected=f"an IPv{network.version} address, as in from",
            found=str(service.networks[0]),
            where=f"{where}.address",
        )
    return Passage(network, "", service)


def _service(fields: Mapping[str, Any], where: str, user: str = "") -> Service:
    return Service(
        nft_fields.protocol(fields["protocol"], where),
        nft_fields.port(fields["port"], f"{where}.port"),
        (nft_fields.network(fields["address"], f"{where}.address"),),
        user,
    )


def _displaced(values: Any, where: str) -> frozenset[str]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise AirlockError.refuse("this is not a list of names", found=repr(values), where=where)
    for index, value in enumerate(values):
        kind, _colon, name = str(value).partition(":")
        if not name or (kind == "bridge" and not nft_fields.is_bridge(name)):
            raise AirlockError.refuse(
                "this names nothing that runs",
                expected="a name as the refusal gives it, such as bridge:docker0",
                found=repr(value),
                where=f"{where}[{index}]",
            )
    return frozenset(map(str, values))
