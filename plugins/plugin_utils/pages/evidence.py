# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the evidence page shows, worked out from the files below evidence/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

VERDICTS = ("failed", "unproven", "waived", "passed")
VANTAGES = {"external": "seen from outside", "self": "said by the host itself"}
PLANES = {
    "BAS": "Base system",
    "NET": "Network",
    "PKI": "Certificates",
    "GPU": "Accelerators",
    "MOD": "Models",
    "RUN": "Runtime",
    "GW": "Gateway",
    "LCK": "Lock and drift",
    "VER": "The probes themselves",
}
"""Prefix of a control to the plane that people know, in the order of the page."""


def context(
    documents: Iterable[Mapping[str, Any]], surveys: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what evidence.html.j2 needs.

    ``documents``: evidence of one host each, as the library's ``evidence.collect`` writes it.
    ``surveys``: host to ``before`` and ``latest``, two documents of ``survey.report`` with ``when``.
    """
    hosts = [
        _host(document, surveys.get(document["host"]))
        for document in sorted(documents, key=lambda document: str(document["host"]))
    ]
    counts = {verdict: sum(host["counts"][verdict] for host in hosts) for verdict in VERDICTS}
    return {"hosts": hosts, "counts": counts, "verdict": verdict(counts), "verdicts": VERDICTS}


def verdict(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the one sentence at the top: ``kind`` (a verdict) and ``text``."""
    total = sum(counts.values())
    if not total:
        return {"kind": "unproven", "text": "Nothing was tried"}
    if counts["failed"]:
        return {"kind": "failed", "text": f"{counts['failed']} of {total} probes failed"}
    if counts["unproven"]:
        waived = f", and {counts['waived']} waived" if counts["waived"] else ""
        return {
            "kind": "unproven",
            "text": f"Nothing failed, but {counts['unproven']} of {total} probes prove nothing{waived}",
        }
    if counts["waived"]:
        return {
            "kind": "waived",
            "text": f"Nothing failed, but {counts['waived']} of {total} probes are waived for a time",
        }
    return {"kind": "passed", "text": f"All {total} probes held"}


def _host(document: Mapping[str, Any], surveys: Mapping[str, Any] | None) -> dict[str, Any]:
    records = document["records"]
    planes: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(records, key=_rank):
        planes.setdefault(record["control"].partition("-")[0], []).append(record)
    known = [*PLANES, *sorted(set(planes) - set(PLANES))]
    return {
        "name": document["host"],
        "finished": document["finished"],
        "counts": _count(records),
        "vantages": [
            {"text": text, "counts": _count(r for r in records if r["vantage"] == vantage)}
            for vantage, text in VANTAGES.items()
        ],
        "planes": [
            {
                "title": PLANES.get(prefix, prefix),
                "problems": [r for r in planes[prefix] if r["verdict"] != "passed"],
                "passed": [r for r in planes[prefix] if r["verdict"] == "passed"],
                "counts": _count(planes[prefix]),
            }
            for prefix in known
            if prefix in planes
        ],
        "before": _before(surveys, planes) if surveys else None,
    }


def _before(
    surveys: Mapping[str, Any], planes: Mapping[str, list[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Put each finding of the first survey beside what is known now."""
    before, latest = surveys["before"], surveys["latest"]
    surveyed_again = latest["when"] != before["when"]
    left = {finding["key"] for finding in latest["findings"]}
    rows = []
    for finding in before["findings"]:
        if not surveyed_again:
            now, kind = "not surveyed since", "unproven"
        elif finding["key"] in left:
            now, kind = "still there", "failed" if finding["severity"] == "high" else "unproven"
        else:
            now, kind = "gone", "passed"
        probes = _count(planes.get(finding["plane"], []))
        rows.append({"finding": finding, "now": now, "kind": kind, "probes": probes})
    return {
        "when": before["when"],
        "again": latest["when"] if surveyed_again else None,
        "rows": rows,
    }


def _count(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(record["verdict"] for record in records)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _rank(record: Mapping[str, Any]) -> tuple[int, str]:
    return VERDICTS.index(record["verdict"]), record["control"]
