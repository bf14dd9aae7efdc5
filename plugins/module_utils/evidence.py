# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence: what was tried against a control, and how it ended."""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import canonical
from .errors import AirlockError
from .files import read_limited, write_atomic

VERDICTS = ("failed", "unproven", "waived", "passed")
_RUN = ".run.jsonl"
_MAX_BYTES = 64 * 1024 * 1024


def judge(
    *,
    holds: bool,
    denial: bool,
    positive_control: str | None,
    waiver: Mapping[str, Any] | None = None,
    today: datetime.date,
) -> str:
    """Return the verdict of one probe.

    A denial proves something only if the same thing was seen to work from somewhere else in the
    same run: without that the target may simply be down, and the verdict is ``unproven``.

    What does not hold is ``waived`` until the day ``until`` of its waiver is over. Raises
    AirlockError for a waiver without a reason or such a day.
    """
    waived = waiver is not None and today <= _last_day(waiver)
    if not holds:
        return "waived" if waived else "failed"
    return "unproven" if denial and not positive_control else "passed"


def _last_day(waiver: Mapping[str, Any]) -> datetime.date:
    try:
        until = datetime.date.fromisoformat(waiver["until"])
    except ValueError:
        until = None
    if until is None or not waiver["reason"].strip():
        raise AirlockError.refuse(
            "this is not a waiver",
            expected="a reason, and until as YYYY-MM-DD",
            found=f"reason {waiver['reason']!r} and until {waiver['until']!r}",
            where="waiver",
        )
    return until


def start(directory: str) -> None:
    """Begin a run: forget records of one that was never collected. Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write_atomic(os.path.join(directory, _RUN), b"", mode=0o600)


def append(directory: str, host: str, records: list[dict[str, Any]], when: str) -> None:
    """Judge ``records`` and add them to the run. ``when`` is RFC 3339, UTC.

    Raises AirlockError and OSError. One write(2) with O_APPEND for each call, so that hosts may be probed in parallel.
    """
    lines = b"".join(
        json.dumps(
            {
                **record,
                "host": host,
                "when": when,
                "verdict": judge(
                    holds=record["holds"],
                    denial=record["denial"],
                    positive_control=record["positive_control"],
                    waiver=record.get("waiver"),
                    today=datetime.date.fromisoformat(when[:10]),
                ),
            }
        ).encode()
        + b"\n"
        for record in records
    )
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    with open(os.open(os.path.join(directory, _RUN), flags, 0o600), "wb", buffering=0) as handle:
        handle.write(lines)


def collect(directory: str, when: str) -> dict[str, dict[str, int]]:
    """End the run: write ``<host>.json`` for each host; return the verdicts counted by host.

    Raises AirlockError when no run was started or nothing was recorded in it.
    """
    path = os.path.join(directory, _RUN)
    try:
        lines = read_limited(path, _MAX_BYTES).splitlines()
    except FileNotFoundError:
        lines = []
    hosts: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        record = canonical.parse(line, where=path)
        hosts.setdefault(record["host"], []).append(record)
    if not hosts:
        raise AirlockError.refuse(
            "no probe has recorded anything", where=path, fix="run verify.yml from its start"
        )
    summaries = {host: summarise(records) for host, records in hosts.items()}
    for host, records in hosts.items():
        document = {
            "version": 1,
            "host": host,
            "finished": when,
            "summary": summaries[host],
            "records": records,
        }
        write_atomic(
            os.path.join(directory, f"{host}.json"),
            json.dumps(document, indent=1, sort_keys=True).encode() + b"\n",
            mode=0o600,
        )
    os.unlink(path)
    return summaries


def summarise(records: list[dict[str, Any]]) -> dict[str, int]:
    """Count the verdicts; every verdict is there, also with 0."""
    counts = Counter(record["verdict"] for record in records)
    return {verdict: counts[verdict] for verdict in VERDICTS}
