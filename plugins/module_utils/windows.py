# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance windows: what may open, towards whom and for how long, decided on the controller.

A window lets the package manager of a host, and nobody else, reach a few addresses for a few
minutes. The host says what it would like to reach; the owner's list says what it may.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import AirlockError
from .windows_sources import PORTS, is_address, is_name

MAX_MINUTES = 240
MAX_DESTINATIONS = 64
_MAX_REASON = 300

Resolve = Callable[[str], Sequence[str]]
"""Returns the addresses of a host name, text, none when there is no such name."""


@dataclass(frozen=True, order=True)
class Destination:
    """A host name (or the address again), its literal address and a TCP port."""

    name: str
    address: str
    port: int

    def element(self) -> str:
        """Return it as an element of the sets of the ruleset (nft(8), SETS)."""
        return f"{self.address} . tcp . {self.port}"

    def family(self) -> int:
        """Return 4 or 6."""
        return ipaddress.ip_address(self.address).version

    def as_dict(self) -> dict[str, Any]:
        """Return it for a module's parameter."""
        return asdict(self)


@dataclass(frozen=True)
class _Mirror:
    """What the owner allows: without an address it is resolved, without a port both of HTTP's are meant."""

    name: str
    address: str | None
    port: int | None

    def allows(self, name: str, port: int) -> bool:
        ports = (self.port,) if self.port else tuple(PORTS.values())
        return self.name == name and port in ports


def plan(
    sources: Sequence[Mapping[str, Any]],
    mirrors: Any,
    wanted: Any,
    resolve: Resolve,
) -> list[Destination]:
    """Return what a window opens, sorted.

    ``sources`` is what the host names, ``{name, port, where}``; ``mirrors`` (``airlock_mirrors``)
    what the owner allows, ``wanted`` what the owner asks for this time, and then nothing else
    counts. Both are lists of names or ``{name, address, port}``. A name is resolved here; what it
    resolves to must be a public address, for a name alone must not open a way into the house.
    Raises AirlockError.
    """
    if wanted:
        entries = _mirrors(wanted, "destinations")
        pairs = [(entry, port) for entry in entries for port in _ports(entry, sources)]
    else:
        pairs = _permitted(sources, _mirrors(mirrors, "airlock_mirrors"))
    found = {
        Destination(entry.name, address, port)
        for entry, port in pairs
        for address in _addresses(entry, resolve)
    }
    if not 0 < len(found) <= MAX_DESTINATIONS:
        raise AirlockError.refuse(
            "this is nothing that a window could open",
            expected=f"1 to {MAX_DESTINATIONS} destinations",
            found=str(len(found)),
            fix="name them with -e destinations=[…]",
        )
    return sorted(found)


def check_request(reason: Any, minutes: Any) -> int:
    """Return the minutes of a window. Raises AirlockError without a reason or with an odd time."""
    if not isinstance(reason, str) or not reason.strip() or not reason.isprintable():
        raise AirlockError.refuse(
            "nothing is opened without a reason", fix="add -e \"reason='why'\", in one line"
        )
    if len(reason) > _MAX_REASON:
        raise AirlockError.refuse(
            "the reason is too long", expected=f"at most {_MAX_REASON} characters", where="reason"
        )
    text = str(minutes)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_MINUTES):
        raise AirlockError.refuse(
            "a window cannot stay open for that long",
            expected=f"1 to {MAX_MINUTES} minutes",
            found=ascii(text)[:40],
            where="minutes",
        )
    return int(text)


def destinations(entries: Sequence[Mapping[str, Any]]) -> list[Destination]:
    """Return the destinations that a module was given, checked once more. Raises AirlockError."""
    found = set()
    for index, entry in enumerate(entries):
        mirror = _mirror(entry, f"destinations[{index}]")
        if mirror.address is None or mirror.port is None:
            raise AirlockError.refuse(
                "the host resolves no names",
                expected="name, address and port",
                where=f"destinations[{index}]",
            )
        found.add(Destination(mirror.name, mirror.address, mirror.port))
    return sorted(found)


def _ports(entry: _Mirror, sources: Sequence[Mapping[str, Any]]) -> list[int]:
    """The port that the owner names, else those that the sources use, else both of HTTP's."""
    if entry.port:
        return [entry.port]
    used = {source["port"] for source in sources if entry.allows(source["name"], source["port"])}
    return sorted(used or PORTS.values())


def _permitted(
    sources: Sequence[Mapping[str, Any]], mirrors: Sequence[_Mirror]
) -> list[tuple[_Mirror, int]]:
    pairs = []
    for source in sources:
        name, port = source["name"], source["port"]
        allowed = [mirror for mirror in mirrors if mirror.allows(name, port)]
        if not allowed:
            raise AirlockError.refuse(
                "the host wants packages from where you do not allow it",
                expected=", ".join(mirror.name for mirror in mirrors) or "nothing",
                found=f"{name} port {port}",
                where=str(source["where"]),
                fix="add it to airlock_mirrors if you know it, or disable the source on the host",
            )
        pairs += [(mirror, port) for mirror in allowed]
    return pairs


def _addresses(mirror: _Mirror, resolve: Resolve) -> list[str]:
    if mirror.address is not None:
        return [mirror.address]
    found = sorted({str(ipaddress.ip_address(address)) for address in resolve(mirror.name)})
    if not found:
        raise AirlockError.refuse(
            "the controller cannot resolve this name",
            found=mirror.name,
            fix="give its address: {name: …, address: …}",
        )
    for address in found:
        if not ipaddress.ip_address(address).is_global:
            raise AirlockError.refuse(
                "the name resolves to an address that is not public",
                found=f"{mirror.name} at {address}",
                fix="if that is your own mirror, say so: {name: …, address: …}",
            )
    return found


def _mirrors(entries: Any, where: str) -> list[_Mirror]:
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Sequence):
        raise AirlockError.refuse(
            "this is not a list", expected="[name, …]", found=ascii(entries)[:100], where=where
        )
    return [_mirror(entry, f"{where}[{index}]") for index, entry in enumerate(entries)]


def _mirror(entry: Any, where: str) -> _Mirror:
    fields = entry if isinstance(entry, Mapping) else {"name": entry}
    name, address, port = (fields.get(key) for key in ("name", "address", "port"))
    known = set(fields) <= {"name", "address", "port"}
    if not known or not isinstance(name, str) or not is_name(name.lower()):
        raise AirlockError.refuse(
            "this is no destination",
            expected="a host name, or name, address and port",
            found=ascii(entry)[:100],
            where=where,
        )
    if port is not None and not _is_port(port):
        raise AirlockError.refuse(
            "this is not a port", expected="1 to 65535", found=ascii(port), where=f"{where}.port"
        )
    if address is None and is_address(name):
        address = name
    return _Mirror(name.lower(), None if address is None else _usable(address, where), port)


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _usable(address: Any, where: str) -> str:
    """Return a literal address of one host that is not this one and not a link's own."""
    if isinstance(address, str) and is_address(address):
        parsed = ipaddress.ip_address(address)
        mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped
        local = parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified
        if not (mapped or local or parsed.is_multicast or str(parsed) == "255.255.255.255"):
            return str(parsed)
    raise AirlockError.refuse(
        "no window opens towards this address",
        expected="the literal address of another host",
        found=ascii(address)[:100],
        where=f"{where}.address",
    )
