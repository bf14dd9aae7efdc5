# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain of an audit trail: what binds each record to the one before it, and to its time.

JSON Lines; each line is canonical JSON. ``prev`` is the SHA-256 of the line before, without its line
feed, ``mac`` an HMAC-SHA-256 over the record without ``mac``, under a key of this record alone::

    {"kind": "done", …, "mac": "<hex>", "prev": "<hex>", "seq": 7, "time": "2026-11-21T10:00:00.123Z"}

The key of record n+1 is derived from that of record n (HKDF-Expand, RFC 5869), and the latter is
forgotten: who takes the host sees the key of the next record, from which no earlier one follows. That
is a forward-secure MAC, Bellare and Yee, "Forward-Security in Private-Key Cryptography", 2003. The
first key stays on the controller, which can therefore prove every record.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import canonical
from .errors import AirlockError

FIRST = "0" * 64
"""What the first record names as the one before it."""

MAX_LINE = 64 * 1024
"""Bytes of a line."""

OWN = ("mac", "prev", "seq", "time")
"""Fields that the writer of the trail fills in, and nobody else."""

KEY_BYTES = 32
_FOR_NEXT = b"airlock audit: key of the next record\x01"
_FOR_MAC = b"airlock audit: mac of this record\x01"


def timestamp(seconds: float) -> str:
    """Return the moment ``seconds`` after the epoch as records have it: RFC 3339, UTC, milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def next_key(key: bytes) -> bytes:
    """Return the key of the record after the one whose key is ``key``, 32 bytes."""
    return hmac.digest(key, _FOR_NEXT, "sha256")


def key_at(first: bytes, seq: int) -> bytes:
    """Return the key of record ``seq`` (1 and up) of the trail whose first key is ``first``."""
    for _step in range(seq - 1):
        first = next_key(first)
    return first


@dataclass
class Chain:
    """The end of a trail: number and key of the next record, and the SHA-256 of the last line."""

    seq: int
    key: bytes
    prev: str = FIRST

    def extend(self, record: Mapping[str, Any], time: str) -> bytes:
        """Return the line for ``record``, without its line feed, and forget its key.

        ``time`` is RFC 3339. Raises AirlockError for a record that cannot be canonical, is too large or
        has one of OWN.
        """
        if any(name in record for name in OWN):
            raise AirlockError.refuse(
                "the record has a field of the trail", expected=f"none of {', '.join(OWN)}"
            )
        body = {**record, "prev": self.prev, "seq": self.seq, "time": time}
        body["mac"] = _mac(self.key, canonical.dumps(body))
        line = canonical.dumps(body)
        if len(line) > MAX_LINE:
            raise AirlockError.refuse(
                "the record is too large", expected=f"at most {MAX_LINE} bytes"
            )
        self._advance(line)
        return line

    def follow(self, line: bytes) -> dict[str, Any]:
        """Take ``line`` as the next record of the trail and return it. Raises AirlockError if it is not."""
        record = parse(line)
        if (record["seq"], record["prev"]) != (self.seq, self.prev):
            raise AirlockError.refuse(
                "the chain of the trail is broken",
                expected=f"record {self.seq} after {self.prev[:16]}",
                found=f"record {record['seq']} after {record['prev'][:16]}",
            )
        if not sealed(record, self.key):
            raise AirlockError.refuse(
                f"record {self.seq} was not written by the writer of this trail",
                expected="the MAC of its key",
                found=record["mac"][:16],
            )
        self._advance(line)
        return record

    def _advance(self, line: bytes) -> None:
        self.prev = hashlib.sha256(line).hexdigest()
        self.key = next_key(self.key)
        self.seq += 1


def parse(line: bytes) -> dict[str, Any]:
    """Return the record of ``line``, of which nothing but the form was checked. Raises AirlockError."""
    record = canonical.loads(line, where="a line of the trail", max_bytes=MAX_LINE)
    good = (
        isinstance(record, dict)
        and all(isinstance(record.get(name), str) for name in ("kind", "mac", "prev", "time"))
        and isinstance(record.get("seq"), int)
        and not isinstance(record["seq"], bool)
        and record["seq"] > 0
        and canonical.dumps(record) == line
    )
    if not good:
        raise AirlockError.refuse("this is not a record of an audit trail", found=repr(line[:80]))
    return dict(record)


def sealed(record: Mapping[str, Any], key: bytes) -> bool:
    """Return whether the MAC of ``record`` was made with ``key``."""
    body = {name: value for name, value in record.items() if name != "mac"}
    return hmac.compare_digest(_mac(key, canonical.dumps(body)).encode(), record["mac"].encode())


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(hmac.digest(key, _FOR_MAC, "sha256"), body, "sha256").hex()
