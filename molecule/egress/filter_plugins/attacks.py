# SPDX-License-Identifier: GPL-3.0-or-later
"""Spells out the attempts of attacks.yml and turns what came of them into evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import probes

Row = Mapping[str, Any]
OURS = {"trick", "to", "by", "control"}  # fields of an attempt that are none of a probe
PROTOCOLS = {"resolve": "dns", "raw": "udp", "tcp_held": "tcp", "udp_held": "udp"}


def attack_probes(
    attempts: Iterable[Row],
    principals: Mapping[str, Row],
    targets: Mapping[str, Sequence[str]],
    expect: str,
) -> list[dict[str, Any]]:
    """Return a probe for each attempt, principal and address; its id is its row of the matrix."""
    return [
        {
            **{field: value for field, value in attempt.items() if field not in OURS},
            **principal["as"],
            "id": row(name, attempt, address),
            "address": address,
            "expect": expect,
        }
        for attempt in attempts
        for name, principal in principals.items()
        if attempt["by"] in (name, *principal["groups"])
        for address in targets[attempt["to"]]
    ]


def attack_records(
    results: Iterable[Row],
    without: Sequence[Row],
    attempts: Iterable[Row],
    principals: Mapping[str, Row],
    vantage: str = "self",
) -> list[dict[str, Any]]:
    """Return a record of evidence for each result; ``without`` are those of the same probes without our rules."""
    controls = {
        attempt["trick"]: attempt["control"] for attempt in attempts if "control" in attempt
    }
    found = []
    for result in results:
        principal, *_middle, trick = result["id"].split(" | ")
        [record] = probes.records(
            [result],
            control=controls.get(trick, principals[principal]["control"]),
            vantage=vantage,
            controls=without,
            seen_from="the same place without these rules",
            match="probe",
        )
        found.append({**record, "probe": f"{result['id']}: {record['probe']}"})
    return found


def row(principal: str, attempt: Row, address: str) -> str:
    """Return the row of the matrix as "principal | protocol | family | trick"."""
    protocol = PROTOCOLS.get(attempt["kind"], attempt["kind"])
    family = "IPv6" if ":" in address else "IPv4"
    return " | ".join((principal, protocol, family, attempt["trick"]))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"attack_probes": attack_probes, "attack_records": attack_records}
