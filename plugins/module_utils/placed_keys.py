# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts know of API keys: the ``keys.json`` that each has now.

A site directory that was restored or copied knows less than they do. What a host says revokes and nothing else: one
that was taken over gets no key into the others.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import api_keys, canonical
from .errors import AirlockError


@dataclass
class Placed:
    """The records by host and id, the highest of the numbers of their last change, and a sentence for each file that
    is none."""

    records: dict[str, dict[str, api_keys.KeyRecord]] = field(default_factory=dict)
    serial: int = 0
    flaws: list[str] = field(default_factory=list)

    def of(self, key_id: str) -> dict[str, api_keys.KeyRecord]:
        """Return the records of one key by host."""
        return {
            host: records[key_id] for host, records in self.records.items() if key_id in records
        }


def read(files: Mapping[str, str]) -> Placed:
    """Return what ``files`` say: ``keys.json`` of each host in Base64, empty where there is none.

    Never raises, because a host with a file that is none is to be repaired.
    """
    placed = Placed()
    for host, text in files.items():
        try:
            data = base64.b64decode(text, validate=True)
            if data:
                where = f"{host}: keys.json"
                document = canonical.loads(data, where=where, max_bytes=api_keys.MAX_FILE_BYTES)
                placed.records[host] = api_keys.of_document(document, where=where)
                placed.serial = max(placed.serial, _serial(document, where))
        except (AirlockError, TypeError, ValueError) as exc:
            placed.flaws.append(f"{exc} Which keys {host} has revoked is not known here.")
    return placed


def objection(record: api_keys.KeyRecord, there: api_keys.KeyRecord, now: datetime) -> str:
    """Return why a host, which has ``there``, refuses the key of ``record`` or is about to; "" where it does not."""
    if there.sha256 == record.sha256:
        return "has it as revoked" if there.revoked is not None else ""
    if there.not_before <= record.not_before:
        return ""  # the host is behind
    before = there.retiring
    if (
        there.revoked is None
        and before is not None
        and before.sha256 == record.sha256
        and record.not_after <= before.until > api_keys.format_time(now)
    ):
        return ""  # it was renewed since, and is taken until its own end
    return "has one that was made later"


def _serial(document: Mapping[str, Any], where: str) -> int:
    serial = document.get("serial", 0)
    if not isinstance(serial, int) or isinstance(serial, bool) or not 0 <= serial < 2**53:
        raise AirlockError.refuse(
            "this is no number of a change", found=repr(serial)[:40], where=where
        )
    return serial
