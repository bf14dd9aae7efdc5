# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an entry of the firewall's intent, each checked; every refusal names its place."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

from .errors import AirlockError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

PROTOCOLS = ("tcp", "udp")

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}|0|[1-9][0-9]{0,8}")
# Nothing in the data path can dial (docs/architecture.md, Accounts).
_NEVER = re.compile(r"airlock-(r[0-9]{2}|gatekeeper|edge|audit)")
# As the kernel takes it (IFNAMSIZ of if.h), and not to be confused with an address.
_BRIDGE = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.-]{1,15}")


def fields(
    entry: Any, names: set[str], where: str, optional: Set[str] = frozenset()
) -> Mapping[str, Any]:
    """Return ``entry`` with the keys ``names`` and maybe ``optional`` and comment. Raises AirlockError."""
    if isinstance(entry, Mapping) and names <= set(entry) <= names | optional | {"comment"}:
        return entry
    raise AirlockError.refuse(
        "the entry is not complete",
        expected=f"the keys {', '.join(sorted(names))} and, if wanted, "
        + " or ".join(sorted({"comment", *optional})),
        found=", ".join(sorted(map(str, entry))) if isinstance(entry, Mapping) else repr(entry),
        where=where,
    )


def protocol(value: Any, where: str) -> str:
    """Return "tcp" or "udp". Raises AirlockError."""
    if value in PROTOCOLS:
        return str(value)
    raise AirlockError.refuse(
        "the protocol is not known",
        expected="tcp or udp",
        found=repr(value),
        where=f"{where}.protocol",
    )


def port(value: Any, where: str) -> int:
    """Return a port from 1 to 65535. Raises AirlockError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise AirlockError.refuse(
        "this is not a port", expected="a number from 1 to 65535", found=repr(value), where=where
    )


def networks(values: Any, where: str) -> tuple[Network, ...]:
    """Return the networks of a list of CIDR texts. Raises AirlockError."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise AirlockError.refuse("this is not a list of networks", found=repr(values), where=where)
    return tuple(network(value, f"{where}[{index}]") for index, value in enumerate(values))


def network(value: Any, where: str, expected: str = "an address or a network") -> Network:
    """Return an address or a network without host bits, but not the whole internet. Raises AirlockError."""
    try:
        found = ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as exc:
        raise AirlockError.refuse(
            "this is not a network",
            expected=f"{expected} such as 192.0.2.0/24 without host bits",
            found=repr(value),
            where=where,
        ) from exc
    if found.prefixlen == 0:
        raise AirlockError.refuse(
            "this network is the whole internet",
            expected="the networks of your own site",
            found=str(found),
            where=where,
        )
    return found


def is_bridge(value: Any) -> bool:
    """May this be the name of a bridge?"""
    return isinstance(value, str) and _BRIDGE.fullmatch(value) is not None


def account(value: Any, where: str) -> str:
    """Return the name or number of an account that may open connections, "" for none. Raises AirlockError."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise AirlockError.refuse(
            "this is not an account",
            expected="the name of an account of the host, or its number as a text",
            found=repr(value),
            where=where,
        )
    if _NEVER.fullmatch(value):
        raise AirlockError.refuse(
            "releases, gatekeeper, edge and audit open no connection", found=value, where=where
        )
    return value


def plain(text: str) -> Address:
    """Return the address without a zone, and as IPv4 when it is IPv4 in IPv6's clothes (RFC 4291, 2.5.5.2)."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
