# SPDX-License-Identifier: GPL-3.0-or-later
"""A trail whose past somebody deleted who has the writer's user, and with it the key of the next record."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.action.audit_trail import ActionModule
from ansible_collections.homelab.airlock.plugins.module_utils import audit_segments
from ansible_collections.homelab.airlock.plugins.module_utils.audit_chain import Chain, timestamp
from ansible_collections.homelab.airlock.plugins.plugin_utils.audit_visits import Beginning, Visits

NOW, DAY, RECORDS = int(time.time()), 86_400, 20
OLD = NOW - 200 * DAY


class Host:
    """Has a trail of a record a day, the last of today."""

    def __init__(self, site: Path):
        self.visits = Visits(site, "box")
        self.trail, key, _before = self.visits.begin(OLD - DAY)
        self.chain = Chain(1, key)
        self.lines: list[bytes] = []
        self.checkpoints: list[dict[str, Any]] = []
        for number in range(RECORDS):
            self.write({"kind": "done", "id": "x"}, NOW - (RECORDS - 1 - number) * DAY)

    def write(self, record: dict[str, Any], when: float) -> None:
        self.lines.append(self.chain.extend(record, timestamp(when)))

    def expired(self, last: int) -> dict[str, Any]:
        return {"kind": "expired", "first": 1, "last": last, "sha256": self.sha256(last)}

    def sha256(self, seq: int) -> str:
        return hashlib.sha256(self.lines[seq - 1]).hexdigest()

    def say(self, seq: int, when: int) -> None:
        """Name a record in the journal."""
        known = {"trail": self.trail, "seq": seq, "sha256": self.sha256(seq)}
        self.checkpoints.append({"when": when, **known})

    def proven(self, lines: list[bytes], keep_days: int, size: int = 2**40) -> dict[str, Any]:
        data = b"".join(line + b"\n" for line in lines)
        action = ActionModule.__new__(ActionModule)
        read = {
            "trail": self.trail,
            "next_seq": self.chain.seq,
            "checkpoints": self.checkpoints,
            "segments": [{"first": 0, "data": base64.b64encode(zlib.compress(data)).decode()}],
            "complete": True,
        }
        action._module = lambda _arguments: read  # type: ignore[method-assign]
        return action._proven(self.visits, {"keep_days": keep_days, "keep_bytes": size, "show": 0})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_past_that_is_deleted_is_found_by_what_is_left(host: Host) -> None:
    assert host.proven(host.lines, 90)["whole"]
    left = host.lines[15:]
    host.write(host.expired(15), NOW)
    [finding] = host.proven([*left, host.lines[-1]], 90)["findings"]
    assert "cannot have expired" in finding
    assert host.proven([*left, host.lines[-1]], 3)["whole"], "kept three days it may be gone"


# Named, because two workers have to collect the same names in two seconds.
@pytest.mark.parametrize(
    ("seen", "whole"), [(NOW - DAY, False), (OLD, True)], ids=["yesterday", "long ago"]
)
def test_a_past_that_is_deleted_whole_is_found_by_the_journal(
    host: Host, seen: int, whole: bool
) -> None:
    """Nothing honest is left; what is forged says that it is old."""
    host.say(RECORDS, seen)
    gone = host.expired(RECORDS)
    host.write({"kind": "done", "id": "x"}, OLD)
    host.write(gone, NOW)
    proof = host.proven(host.lines[RECORDS:], 90)
    assert proof["whole"] == whole
    assert whole or "record 20 is missing, and too young" in proof["findings"][0]


def test_what_no_visit_has_seen_is_counted_once_and_a_larger_limit_undoes_no_verdict(
    host: Host,
) -> None:
    """A trail that may have no byte more than a segment lets the oldest go; then the owner raises that."""
    small, large = audit_segments.MAX_BYTES, 2**40
    host.visits.remember(host.trail, 10, host.sha256(10), NOW, Beginning(1, small))
    host.write({**host.expired(15), "why": "size"}, NOW)
    for unseen in (5, 0):
        proof = host.proven(host.lines[15:], 90, large)
        assert (proof["whole"], proof["early"], proof["unseen"]) == (True, 15, unseen)
    host.write({**host.expired(17), "why": "size"}, NOW)
    assert not host.proven(host.lines[17:], 90, large)["whole"], (
        "deleted since, and the limit is the larger one"
    )
