# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests that no runtime has seen get a line of their own, and how the others are counted.

Who is refused can send requests for ever, with a key that has expired, too, and must not fill the disk with
lines. A network without a key (one IPv4 address, one /64 of IPv6) has a burst of lines of its own that comes back
slowly, and so has each key, and all networks and all keys together, so that strangers take no lines of keys. Every
request beyond is counted under its network or key, status and reason, and the counts become records.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any

_KNOWN = 4096  # networks and keys that have a bucket of their own
_COUNTED = 64  # that have a record of their own; the others share one
_REASONS = 32
OTHERS = "others"

Who = tuple[str, str]  # a field of the record and its value: "client", a network; or "key", its id


@dataclass
class Bucket:
    """Lines that may still be written, which come back with time (token bucket)."""

    burst: int
    a_minute: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Take one line if there is one; ``now`` in seconds."""
        self.left = min(self.burst, self.left + (now - self.at) * self.a_minute / 60)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Counts:
    """Decides about requests that were not forwarded."""

    def __init__(self, lines_each: int, lines_for_all: int, now: float):
        self._burst = lines_each
        self._all = {
            kind: Bucket(lines_for_all, lines_for_all / 10, lines_for_all, now)
            for kind in ("client", "key")
        }
        self._buckets: OrderedDict[Who, Bucket] = OrderedDict()
        self._counted: dict[Who, Counter[str]] = {}

    def admits(self, record: dict[str, Any], now: float) -> bool:
        """Return whether ``record`` gets a line of its own; if not, it has been counted."""
        if record["kind"] != "done" or record.get("forwarded"):
            return True
        who = _who(record)
        kind = who[0]
        if self._bucket(who, now).take(now) and self._all[kind].take(now):
            return True
        counted = sum(each[0] == kind for each in self._counted)
        if who not in self._counted and counted >= _COUNTED:
            who = (kind, OTHERS)
        reasons = self._counted.setdefault(who, Counter())
        reason = f"{record.get('status')} {record.get('reason')}"
        reasons[reason if reason in reasons or len(reasons) < _REASONS else OTHERS] += 1
        return False

    def drain(self) -> list[dict[str, Any]]:
        """Return a record for each of whom requests were counted, and begin anew."""
        counted, self._counted = self._counted, {}
        return [
            {"kind": "counted", kind: name, "requests": dict(reasons)}
            for (kind, name), reasons in counted.items()
        ]

    def put_back(self, records: list[dict[str, Any]]) -> None:
        """Count again what could not be written."""
        for record in records:
            [who] = [(kind, record[kind]) for kind in self._all if kind in record]
            self._counted.setdefault(who, Counter()).update(record["requests"])

    def _bucket(self, who: Who, now: float) -> Bucket:
        if who not in self._buckets:
            if len(self._buckets) >= _KNOWN:
                self._buckets.popitem(last=False)
            self._buckets[who] = Bucket(self._burst, self._burst / 10, self._burst, now)
        self._buckets.move_to_end(who)
        return self._buckets[who]


def _who(record: dict[str, Any]) -> Who:
    if record.get("key") is not None:
        return "key", str(record["key"])
    return "client", network_of(record.get("client"))


def network_of(client: object) -> str:
    """Return what counts as one client: an IPv4 address, a /64 of IPv6, or ``none``."""
    try:
        address = ipaddress.ip_address(str(client))
    except ValueError:
        return "none"
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
