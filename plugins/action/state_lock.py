# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the lock of a host on the controller; needs no connection to the host."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils import (
    canonical,
    lock_memory,
    state,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import lock_attacks
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import Kept, LockFiles


class ActionModule(ControllerAction):
    """Creates, compares or replaces the lock."""

    _supports_diff = True
    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "host": {"type": "str", "required": True},
        "state": {
            "type": "str",
            "choices": ["locked", "compared", "rebuildable", "read", "attacked"],
            "default": "locked",
        },
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "remembered": {"type": "dict"},
        "observation": {"type": "dict"},
        "intent": {"type": "dict", "default": {}},
        "releases": {"type": "list", "elements": "dict", "default": []},
        "relock": {"type": "bool", "default": False},
        "reason": {"type": "str", "default": ""},
    }
    _RULES: ClassVar[dict[str, Any]] = {
        "required_if": [
            ("state", value, ["observation"]) for value in ("locked", "compared", "rebuildable")
        ]
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        files = LockFiles(
            Path(wanted["site_dir"]),
            wanted["host"],
            passphrase=wanted["passphrase"],
            check=self._task.check_mode,
        )
        return _run(files, wanted)


def _run(files: LockFiles, wanted: dict[str, Any]) -> dict[str, Any]:
    remembered = None
    if wanted["remembered"]:
        remembered = lock_memory.parse(_plain(wanted["remembered"]), f"the memory of {files.host}")
    if wanted["state"] == "locked":
        return _lock(files, remembered, wanted)
    lock = files.accepted(remembered).lock
    if wanted["state"] == "attacked":
        return {"changed": False, **lock_attacks.attempt(files, lock, remembered)}
    if wanted["state"] == "read":
        return {"changed": False, "lock": _head(lock)}
    observation = _plain(wanted["observation"])
    if wanted["state"] == "rebuildable":
        resolved = state.resolve(_plain(wanted["releases"]))
        _refuse_obstacles(files.host, state.obstacles(lock, observation["state"], resolved))
        versions = state.package_versions(lock)
        return {"changed": False, "lock": _head(lock), "package_versions": versions}
    return {"changed": False, **_comparison(lock, observation, _intent_digest(wanted))}


def _lock(
    files: LockFiles, remembered: lock_memory.Place | None, wanted: dict[str, Any]
) -> dict[str, Any]:
    kept = files.lock()
    observation = _plain(wanted["observation"])
    intent_digest = _intent_digest(wanted)
    objection = files.objection(kept, remembered)
    if objection and not wanted["relock"]:
        raise objection
    previous = kept.lock if kept else None
    found = _comparison(previous, observation, intent_digest)
    differs = bool(found["differences"] or found["intent_changed"] or objection)
    kind = _kind_of_change(files, kept, wanted, differs)
    files.keep_observation(observation)
    lock = previous
    if lock is None or kind == "relocked":
        lineage, serial = lock_memory.next_place(
            (remembered, files.entered), previous, str(uuid.uuid4())
        )
        lock = state.create(
            files.host,
            observation,
            state.resolve(_plain(wanted["releases"])),
            intent_digest,
            lineage=lineage,
            serial=serial,
            previous=previous,
        )
        found.update(differences=[], intent_changed=False)
    if kind is not None:
        files.keep_lock(lock, kind, wanted["reason"])
    return {
        **found,
        "changed": kind is not None,
        "kind": kind,
        "lock": _head(lock),
        "accepted": files.place(lock).document(),
    }


def _comparison(
    lock: dict[str, Any] | None, observation: dict[str, Any], intent_digest: str
) -> dict[str, Any]:
    differences = state.diff(lock["state"], observation["state"]) if lock else []
    return {
        "lock": _head(lock or {}),
        "differences": [difference.as_dict() for difference in differences],
        "intent_changed": lock is not None and lock["intent_digest"] != intent_digest,
        "diff": {"prepared": "".join(f"{difference.sentence}\n" for difference in differences)},
    }


def _intent_digest(wanted: dict[str, Any]) -> str:
    return canonical.digest(_plain(wanted["intent"]))


def _head(lock: dict[str, Any]) -> dict[str, Any]:
    """Return the lock without its long parts, which nobody wants to see in a log."""
    return {key: value for key, value in lock.items() if key not in ("state", "coverage")}


def _refuse_obstacles(host: str, obstacles: list[state.Difference]) -> None:
    if obstacles:
        raise AirlockError.refuse(
            f"{host} cannot be rebuilt from its lock",
            found="; ".join(difference.sentence for difference in obstacles),
            fix="restore the intent that the lock was made from and a machine with its platform, "
            "or build anew with site.yml and -e airlock_relock=true -e \"reason='...'\"",
        )


def _kind_of_change(
    files: LockFiles, kept: Kept | None, wanted: dict[str, Any], differs: bool
) -> str | None:
    """Return what will happen to the lock, a kind for the ledger, or None when it stays."""
    if wanted["relock"] and differs:
        if not wanted["reason"].strip():
            raise AirlockError.refuse(
                "a lock is not replaced without a reason",
                where=str(files.path("lock.json")),
                fix="add -e \"reason='why the host may differ from its lock'\"",
            )
        return "relocked"
    if kept is None:
        return "created"
    return None if kept.place and files.entered else "adopted"


def _plain(value: Any) -> Any:
    """Return a value of a play without Ansible's tags; numbers with a point become text."""
    return json.loads(json.dumps(value, default=str), parse_float=str)
