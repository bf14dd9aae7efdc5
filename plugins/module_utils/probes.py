# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network probe is, how its outcome is judged, and how it becomes evidence."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from .errors import AirlockError

NEEDS = {
    "tcp": {"address", "port"},
    "udp": {"address", "port"},
    "dns": {"address", "port"},
    "resolve": {"address", "port"},
    "tcp_held": {"address", "port"},
    "udp_held": {"address", "port"},
    "raw": {"address", "port"},
    "listen": {"address", "port"},
    "icmp": {"address"},
    "unix": {"path"},
    "write": {"path"},
    "interfaces": set(),
}
"""Kinds of probes and the fields that each cannot do without."""

_PATH_BYTES = 107  # sun_path less its final NUL, unix(7)
_CARRIED_BYTES = 65000  # less than the largest datagram with every header, RFC 768
_UNREACHED = ("refused", "timeout", "untried")


@dataclass(frozen=True)
class Probe:
    """One attempt; ``user``, ``unit`` and ``container`` are empty for the caller's own user and namespaces.

    ``interface`` is the one that a link-local ``address`` is on, ``source_port`` the own port if
    not any, ``size`` how many bytes to carry if not a few.
    """

    id: str
    kind: str
    expect: str
    user: str = ""
    unit: str = ""
    container: str = ""
    address: str = ""
    port: int = 0
    path: str = ""
    interface: str = ""
    source_port: int = 0
    size: int = 0


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    ``outcome`` is reached, refused, timeout, untried (it could not be made: no such path or
    interface, for instance) or error (something broke); ``errno`` its symbol or None; ``ms`` how
    long it took; ``detail`` a few words; ``source`` the own address used.
    """

    outcome: str
    errno: str | None = None
    ms: int = 0
    detail: str = ""
    source: str = ""


def parse(entry: Mapping[str, Any], index: int) -> Probe:
    """Check entry ``index`` of a list of probes. Raises AirlockError."""
    where = f"probes[{index}]"
    given = {key: value for key, value in entry.items() if value not in (None, "")}
    kind = str(given["kind"])
    missing = sorted(NEEDS[kind] - given.keys())
    if missing:
        raise AirlockError.refuse(
            f"a probe of kind {kind} needs {' and '.join(missing)}", where=where
        )
    probe = Probe(**given)
    if probe.address and not _is_address(probe.address):
        raise AirlockError.refuse(
            "nothing resolves names for a probe",
            expected="a literal IPv4 or IPv6 address",
            found=repr(probe.address),
            where=f"{where}.address",
        )
    _within(probe.port, 65535, "this is not a port", f"{where}.port")
    _within(probe.source_port, 65535, "this is not a port", f"{where}.source_port")
    _within(probe.size, _CARRIED_BYTES, "no packet carries so much", f"{where}.size")
    if probe.unit and probe.container:
        raise AirlockError.refuse(
            "a probe can be in one place only",
            expected="unit or container",
            found=f"{probe.unit} and {probe.container}",
            where=where,
        )
    if len(probe.path.encode()) > _PATH_BYTES:
        raise AirlockError.refuse(
            "no socket can have this path",
            expected=f"at most {_PATH_BYTES} bytes",
            where=f"{where}.path",
        )
    return probe


def result(probe: Probe, outcome: Outcome) -> dict[str, Any]:
    """Return ``probe`` and ``outcome`` as one dictionary with ``holds``: was the expectation met?

    A refusal is expected in vain only by what was reached; an error meets no expectation. What was not
    tried meets that of a refusal, and has no positive control (`records`): it proves nothing.
    """
    holds = (
        outcome.outcome == "reached" if probe.expect == "reached" else outcome.outcome in _UNREACHED
    )
    return {**asdict(probe), **asdict(outcome), "holds": holds}


def for_targets(
    targets: Iterable[Mapping[str, Any]], *, users: Sequence[str], unit: str, expect: str
) -> list[dict[str, Any]]:
    """Return a probe for each user, address and service of ``targets``.

    A target has ``name``, ``address4``, ``address6``, ``tcp`` and ``udp`` (lists of ports) and
    ``dns`` (bool); each address is also sent an ICMP echo.
    """
    return [
        {
            "id": f"{user}/{target['name']}/{kind}/{address}/{port or ''}".rstrip("/"),
            "user": user,
            "unit": unit,
            "expect": expect,
            "kind": kind,
            "address": address,
            **({"port": port} if port else {}),
        }
        for user in users
        for target in targets
        for address in (target.get("address4"), target.get("address6"))
        if address
        for kind, port in _services(target)
    ]


def records(
    results: Iterable[Mapping[str, Any]],
    *,
    control: str,
    vantage: str,
    controls: Sequence[Mapping[str, Any]],
    seen_from: str,
    match: str = "destination",
) -> list[dict[str, Any]]:
    """Return evidence records of ``results``; ``controls`` are results that may prove reachability.

    The positive control of a denial is a result that was reached: by ``match`` one of the same kind
    for the same "destination", or the very same "probe" at another time, told by its id.
    ``seen_from`` says where those were tried.
    """
    same: Callable[[Mapping[str, Any]], Any] = (
        itemgetter("id") if match == "probe" else _destination
    )
    reached = {same(entry): entry for entry in controls if entry["outcome"] == "reached"}
    return [
        {
            "control": control,
            "vantage": vantage,
            "probe": describe(entry),
            "expected": entry["expect"],
            "observed": _observed(entry),
            "holds": entry["holds"],
            "denial": entry["expect"] == "refused",
            "positive_control": (
                f"reached from {seen_from} in {reached[same(entry)]['ms']} ms"
                if entry["expect"] == "refused"
                and entry["outcome"] != "untried"
                and same(entry) in reached
                else None
            ),
        }
        for entry in results
    ]


def describe(entry: Mapping[str, Any]) -> str:
    """Return what was tried, in words."""
    address = f"[{entry['address']}]" if ":" in entry["address"] else entry["address"]
    where = entry["path"] or f"{address}{':' + str(entry['port']) if entry['port'] else ''}"
    words = [entry["kind"], where]
    words += ["as " + entry["user"]] if entry["user"] else []
    words += ["inside " + entry["unit"]] if entry["unit"] else []
    words += ["inside container " + entry["container"]] if entry["container"] else []
    words += ["over " + entry["interface"]] if entry["interface"] else []
    words += [f"from port {entry['source_port']}"] if entry["source_port"] else []
    words += [f"with {entry['size']} bytes"] if entry["size"] else []
    return " ".join(word for word in words if word)


def _observed(entry: Mapping[str, Any]) -> str:
    if entry["outcome"] == "error":
        return f"error: {entry['detail']}"
    parts = [
        entry["errno"] or "",
        f"after {entry['ms']} ms",
        f"({entry['detail']})" if entry["detail"] else "",
    ]
    return f"{entry['outcome']}: " + " ".join(part for part in parts if part)


def _destination(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return (entry["kind"], entry["address"], entry["port"], entry["path"])


def _services(target: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [
        *(("tcp", int(port)) for port in target.get("tcp") or ()),
        *(("udp", int(port)) for port in target.get("udp") or ()),
        *([("dns", 53)] if target.get("dns") else []),
        ("icmp", 0),
    ]


def _within(value: int, largest: int, refusal: str, where: str) -> None:
    if not 0 <= value <= largest:
        raise AirlockError.refuse(
            refusal, expected=f"at most {largest}", found=str(value), where=where
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
