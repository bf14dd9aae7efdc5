# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter of a host, as the observation has it."""

from __future__ import annotations

import json
from typing import Any

from . import canonical
from .commands import Run
from .errors import AirlockError

_TABLE = "airlock"


def observe(run: Run) -> dict[str, Any]:
    """Return the digest of table inet airlock and the names of the other tables."""
    status, output = run(["nft", "-j", "list", "tables"])
    if status != 0:
        return {"airlock": None, "others": []}
    tables = sorted(
        f"{entry['table']['family']} {entry['table']['name']}"
        for entry in json.loads(output)["nftables"]
        if "table" in entry
    )
    ours = f"inet {_TABLE}"
    digest = None
    if ours in tables:
        status, output = run(["nft", "-j", "list", "table", "inet", _TABLE])
        if status != 0:
            raise AirlockError.refuse(
                "nft could not list the table", where=ours, found=output.strip()
            )
        digest = canonical.digest(normalise_ruleset(json.loads(output)["nftables"]))
    return {"airlock": digest, "others": [table for table in tables if table != ours]}


def normalise_ruleset(value: Any) -> Any:
    """Return a ruleset of ``nft -j`` (libnftables-json(5)) without what traffic and time change.

    Handles, counter values, used quotas and the elements of sets that expire or that packets
    fill are dropped.
    """
    if isinstance(value, list):
        return [
            normalise_ruleset(item)
            for item in value
            if not (isinstance(item, dict) and item.keys() == {"metainfo"})
        ]
    if not isinstance(value, dict):
        return value
    dropped = {"handle", "packets", "bytes", "used", "expires"}
    if {"timeout", "dynamic"} & set(value.get("flags") or ()):
        dropped = dropped | {"elem"}
    return {key: normalise_ruleset(item) for key, item in value.items() if key not in dropped}
