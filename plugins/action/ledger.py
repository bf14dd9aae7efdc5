# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds to the ledger of the site, or proves it, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, ledger
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.witness import record

_TEXT = {"type": "str", "required": True}


class ActionModule(ControllerAction):
    """Writes below state/ of the site directory, and only there."""

    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["appended", "proven"], "default": "appended"},
        "entries": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "kind": _TEXT,
                "subject": _TEXT,
                "result": {"type": "dict", "required": True},
            },
        },
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        directory = Path(wanted["site_dir"]) / "state"
        if wanted["state"] == "proven":
            return {"changed": False, **_prove(directory)}
        return _append(directory, wanted["entries"], check=self._task.check_mode)


def _append(directory: Path, entries: list[dict[str, Any]], *, check: bool) -> dict[str, Any]:
    events = [
        # Without Ansible's tags; a number with a point becomes text.
        ledger.Event(**json.loads(json.dumps(entry, default=str), parse_float=str))
        for entry in entries
    ]
    if events and not check:
        directory.mkdir(mode=0o755, exist_ok=True)
        record(directory, events)
    return {"changed": bool(events), "added": len(events)}


def _prove(directory: Path) -> dict[str, Any]:
    """Return whether the chain is whole, and how copies of it fare that somebody has been at."""
    try:
        entries = ledger.read(str(directory))
    except AirlockError as exc:
        return {"whole": False, "observed": str(exc), "attacks": []}
    if not entries:
        return {"whole": False, "observed": "the ledger has no entry", "attacks": []}
    next_one = ledger.Event("tried", "the ledger", {})
    longer = [*entries, *ledger.extend(entries, [next_one], actor="verify", when=entries[-1]["ts"])]
    changed = [{**longer[0], "subject": "something else"}, *longer[1:]]
    return {
        "whole": not _refusal(longer),
        "observed": f"{len(entries)} entries in one chain, the last is {ledger.head(entries)[:16]}",
        "attacks": [
            {"probe": probe, "holds": bool(refusal), "observed": refusal or "accepted"}
            for probe, refusal in (
                ("the ledger with another subject in its first entry", _refusal(changed)),
                ("the ledger without its first entry", _refusal(longer[1:])),
            )
        ],
    }


def _refusal(entries: list[dict[str, Any]]) -> str:
    """Return what is said to a ledger of these entries, '' when it is taken."""
    try:
        ledger.parse(b"".join(canonical.dumps(entry) + b"\n" for entry in entries), "a copy")
    except AirlockError as exc:
        return str(exc)
    return ""
