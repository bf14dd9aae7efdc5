# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begins the audit trail of a host, and proves it on the controller, which alone has its first key."""

from __future__ import annotations

import base64
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils import (
    audit_chain,
    audit_proof,
    audit_segments,
)
from ansible_collections.homelab.airlock.plugins.module_utils.audit_proof import (
    Head,
    Kept,
    Proof,
    Prover,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import audit_attacks
from ansible_collections.homelab.airlock.plugins.plugin_utils.audit_visits import Beginning, Visits
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)

_MODULE = "homelab.airlock.audit_trail"
_ON_HOST = ("directory", "key", "user")
_DAY = 86_400
_CLOCKS = 3600  # seconds that the clocks of a host and of the controller may differ


class ActionModule(ControllerAction):
    """One execution of the module to look, one more for each 8 MiB of the trail."""

    _requires_connection = True
    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "host": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "proven"], "default": "present"},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "keep_days": {"type": "int", "default": 90},
        "keep_bytes": {"type": "int", "default": 4 * 1024**3},
        "show": {"type": "int", "default": 0},
        "directory": {"type": "path"},
        "key": {"type": "path"},
        "user": {"type": "str"},
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self._on_host = {name: wanted[name] for name in _ON_HOST if wanted[name] is not None}
        visits = Visits(Path(wanted["site_dir"]), wanted["host"], wanted["passphrase"])
        if wanted["state"] == "present":
            return self._present(visits)
        return self._proven(visits, wanted)

    def _present(self, visits: Visits) -> dict[str, Any]:
        found = self._module({"state": "present"})
        if found["trail"]:
            visits.first_key(found["trail"])
            return {"changed": False, "trail": found["trail"]}
        if self._task.check_mode:
            return {"changed": True, "trail": "", "before": ""}
        trail, key, before = visits.begin(int(time.time()))
        self._module({"state": "present", "trail": trail, "first_key": key.hex()})
        return {"changed": True, "trail": trail, "before": before}

    def _proven(self, visits: Visits, wanted: dict[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        # The journal and the key are looked at before the trail, which goes on growing.
        read = self._module({"state": "read", "after": 0})
        try:
            first_key = visits.first_key(read["trail"])
        except AirlockError as exc:  # that is what the host shows, and a finding as any other
            return _result(read["trail"], Proof(findings=[str(exc)]))
        kept_since = now - wanted["keep_days"] * _DAY + _CLOCKS
        heads = [
            Head(entry["seq"], entry["sha256"], "the journal", early=entry["when"] > kept_since)
            for entry in read["checkpoints"]
            if entry["trail"] == read["trail"]
        ]
        seen = visits.beginning()
        # Until now the limit of the last visit may have been in force.
        size = min(wanted["keep_bytes"], seen.size or wanted["keep_bytes"])
        prover = Prover(
            first_key,
            [*visits.heads(kept_since), *heads],
            kept=Kept(
                audit_chain.timestamp(kept_since),
                size,
                seen.first,
                audit_chain.timestamp(max(0, visits.begun() - _CLOCKS)),
            ),
        )
        last: deque[dict[str, Any]] = deque(maxlen=max(0, wanted["show"]))
        callers, marked = audit_proof.Callers(), audit_proof.Marked(last.maxlen or 0)
        trail, next_seq = read["trail"], read["next_seq"]
        lines: deque[bytes] = deque(maxlen=audit_attacks.LINES)
        while True:
            for segment in read["segments"]:
                data = _unpacked(segment["data"])
                lines.extend(data.splitlines())
                proven = prover.feed(data)
                last.extend(each for each in proven if each["kind"] == "done")
                callers.add(proven)
                marked.add(proven)
            if read["complete"]:
                break
            read = self._module({"state": "read", "after": read["segments"][-1]["first"]})
        proof = prover.end(next_seq)
        if proof.whole:
            visits.remember(
                trail, proof.last, proof.sha256, now, Beginning(proof.first, wanted["keep_bytes"])
            )
        return {
            **_result(trail, proof),
            "unseen": max(0, proof.early - seen.last),
            "callers": callers.rows(),
            "requests": [audit_proof.sentence(request) for request in last],
            "marked": marked.lines(),
            "attacks": audit_attacks.attempt([*lines], first_key, size) if proof.whole else [],
        }

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=_MODULE,
            module_args={**self._on_host, **arguments},
            task_vars=self._task_vars,
        )
        if result.get("failed"):
            raise AirlockError(str(result.get("msg", "the module failed.")))
        return result


def _result(trail: str, proof: Proof) -> dict[str, Any]:
    return {
        "changed": False,
        "trail": trail,
        "whole": proof.whole,
        "findings": proof.findings,
        "summary": proof.summary(),
        "records": proof.records,
        "last": proof.last,
        "sha256": proof.sha256,
        "open": sorted(proof.open),
        "lost": proof.lost,
        "early": proof.early,
        "unseen": 0,
        "callers": [],
        "requests": [],
        "marked": {},
        "attacks": [],
    }


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(text), audit_segments.MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise AirlockError.refuse(
            "a segment of the audit trail is too large", found="more than 64 MiB"
        )
    return data
