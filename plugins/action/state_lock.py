# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the lock of a host on the controller; needs no connection to the host."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, state
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import LockFiles


class ActionModule(ActionBase):
    """Creates, compares or replaces the lock."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            {
                "site_dir": {"type": "path", "required": True},
                "host": {"type": "str", "required": True},
                "state": {
                    "type": "str",
                    "choices": ["locked", "compared", "rebuildable", "read"],
                    "default": "locked",
                },
                "observation": {"type": "dict"},
                "intent": {"type": "dict", "default": {}},
                "releases": {"type": "list", "elements": "dict", "default": []},
                "relock": {"type": "bool", "default": False},
                "reason": {"type": "str", "default": ""},
            },
            required_if=[
                ("state", value, ["observation"]) for value in ("locked", "compared", "rebuildable")
            ],
        )
        try:
            files = LockFiles(
                Path(arguments["site_dir"]), arguments["host"], check=self._task.check_mode
            )
            return _run(files, arguments)
        except (AirlockError, OSError) as exc:
            raise AnsibleActionFail(str(exc)) from exc


def _run(files: LockFiles, wanted: dict[str, Any]) -> dict[str, Any]:
    lock = files.lock()
    if wanted["state"] != "locked":
        if lock is None:
            raise AirlockError.refuse(
                f"the host {files.host} has no lock",
                where=str(files.path("lock.json")),
                fix="run site.yml on the machine first, or restore the file from a backup",
            )
        if wanted["state"] == "read":
            return {"changed": False, "lock": _head(lock)}

    observation = _plain(wanted["observation"])
    resolved = state.resolve(_plain(wanted["releases"]))
    if wanted["state"] == "rebuildable":
        _refuse_obstacles(files.host, state.obstacles(lock, observation["state"], resolved))
        versions = state.package_versions(lock)
        return {"changed": False, "lock": _head(lock), "package_versions": versions}

    intent_digest = canonical.digest(_plain(wanted["intent"]))
    differences = state.diff(lock["state"], observation["state"]) if lock else []
    intent_changed = lock is not None and lock["intent_digest"] != intent_digest
    kind = None
    if wanted["state"] == "locked":
        files.keep_observation(observation)
        kind = _kind_of_change(files, lock, wanted, bool(differences) or intent_changed)
    if kind is not None:
        lock = state.create(
            files.host,
            observation,
            resolved,
            intent_digest,
            lineage=str(uuid.uuid4()),
            previous=lock,
        )
        files.keep_lock(lock, kind, wanted["reason"])
    sentences = [difference.sentence for difference in differences]
    return {
        "changed": kind is not None,
        "lock": _head(lock),
        "differences": [] if kind else [difference.as_dict() for difference in differences],
        "intent_changed": intent_changed and kind is None,
        "diff": {"prepared": "".join(f"{sentence}\n" for sentence in sentences)},
    }


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
    files: LockFiles, lock: dict[str, Any] | None, wanted: dict[str, Any], differs: bool
) -> str | None:
    """Return what will happen to the lock, a kind for the ledger, or None when it stays."""
    if lock is None:
        return "created"
    if not wanted["relock"] or not differs:
        return None
    if not wanted["reason"].strip():
        raise AirlockError.refuse(
            "a lock is not replaced without a reason",
            where=str(files.path("lock.json")),
            fix="add -e \"reason='why the host may differ from its lock'\"",
        )
    return "relocked"


def _plain(value: Any) -> Any:
    """Return a value of a play without Ansible's tags; numbers with a point become text."""
    return json.loads(json.dumps(value, default=str), parse_float=str)
