# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the survey page shows, worked out from one survey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GIB = 1024**3
KINDS = {"high": "failed", "medium": "unproven", "info": "passed"}
"""Severity of a finding to the colour that the evidence page uses."""


def context(host: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what survey.html.j2 needs for a document of ``survey.report`` with ``when``."""
    findings = [{**finding, "kind": KINDS[finding["severity"]]} for finding in seen["findings"]]
    return {
        "host": host,
        "when": seen["when"],
        "findings": findings,
        "verdict": _verdict(findings),
        "tables": [table for table in _tables(seen) if table["rows"]],
        "unreadable": seen["unreadable"],
    }


def _verdict(findings: list[dict[str, Any]]) -> dict[str, str]:
    serious = sum(1 for finding in findings if finding["kind"] == "failed")
    other = sum(1 for finding in findings if finding["kind"] == "unproven")
    if serious:
        return {"kind": "failed", "text": f"{serious} serious finding(s), {other} to know about"}
    if other:
        return {"kind": "unproven", "text": f"Nothing serious, {other} finding(s) to know about"}
    return {"kind": "passed", "text": "Nothing to report"}


def _tables(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the details, each a title, the heads of the columns, and rows of text."""
    accelerators = seen["accelerators"] or {"gpus": [], "nvidia_version": ""}
    firewall = seen["firewall"] or {}
    network = seen["network"] or {}
    answers = [
        [
            f"{row['address']} port {row['port']}",
            row["product"],
            _ACCESS[row["access"]],
            ", ".join(row["models"]),
        ]
        for row in seen["answers"] or []
    ]
    listeners = [
        [
            f"{row['protocol']} {row['address']} port {row['port']}",
            row["reach"],
            row["process"],
            row["unit"],
        ]
        for row in seen["listeners"] or []
    ]
    containers = [
        [row["name"], row["engine"], row["image"], ", ".join(row["ports"])]
        for row in seen["containers"] or []
    ]
    models = [
        [model["name"], store["path"], f"{model['size'] / _GIB:.1f} GiB"]
        for store in [*(seen["ollama_stores"] or []), *(seen["hub_caches"] or [])]
        for model in store["models"]
    ]
    gpus = [
        [
            gpu["address"],
            f"{gpu['vendor']} {gpu['device']}",
            gpu["driver"] or "none",
            accelerators["nvidia_version"],
        ]
        for gpu in accelerators["gpus"]
    ]
    jobs = [[row["where"], row["via"], row["calls"]] for row in seen["jobs"] or []]
    facts = [
        ["firewall, policy of the input chain", str(firewall.get("input_policy", ""))],
        ["nftables tables", ", ".join(firewall.get("tables", []))],
        ["redirects", ", ".join(firewall.get("redirects", []))],
        ["network managed by", ", ".join(network.get("managers", []))],
        ["VLANs", ", ".join(network.get("vlans", []))],
        ["secure boot", str(seen["secure_boot"])],
    ]
    facts += [
        [f"free space at {disk['path']}", f"{disk['free'] // _GIB} of {disk['size'] // _GIB} GiB"]
        for disk in seen["disks"] or []
    ]
    return [
        _table("Who answers", ("where", "program", "access", "models"), answers),
        _table("Who listens", ("where", "reachable from", "process", "unit"), listeners),
        _table("Containers", ("name", "engine", "image", "published ports"), containers),
        _table("Models on disk", ("model", "store", "size"), models),
        _table("Accelerators", ("address", "device", "driver", "version"), gpus),
        _table("Scheduled jobs that call a model", ("line", "run by", "what it calls"), jobs),
        _table("The machine", ("what", "how it is"), [fact for fact in facts if fact[1]]),
    ]


_ACCESS = {"open": "answers without a key", "key": "asks for a key", "other": "speaks HTTP"}


def _table(title: str, heads: tuple[str, ...], rows: list[list[str]]) -> dict[str, Any]:
    return {"title": title, "heads": heads, "rows": rows}
