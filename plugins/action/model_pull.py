# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolves an entry of models.yml, has it fetched, and locks it; all on the controller."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.module_utils import (
    models_licence,
    models_lock,
    models_sources,
)
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import human
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.models_intent import Intent
from ansible_collections.homelab.airlock.plugins.module_utils.models_offer import (
    Offer,
    OfferedFile,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.model_files import ModelFiles
from ansible_collections.homelab.airlock.plugins.plugin_utils.progress import watching

_TIMEOUT = 60
_ARGUMENTS = {
    "model": {"type": "str", "required": True},
    "site_dir": {"type": "path", "required": True},
    "licences": {"type": "dict", "required": True},
    "agreed": {"type": "str"},
    "passphrase": {"type": "str", "default": "", "no_log": True},
}


class ActionModule(ActionBase):
    """In check mode the offer alone; else one execution of artifact_fetch and a new lock."""

    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, wanted = self.validate_argument_spec(argument_spec=_ARGUMENTS)
        try:
            return self._pull(wanted, task_vars)
        except AirlockError as exc:
            return {"failed": True, "msg": str(exc)}
        except (OSError, HTTPException) as exc:
            return {
                "failed": True,
                "msg": f"Model {wanted['model']}: its source cannot be asked ({exc}); check the address "
                "in models.yml and the controller's way there.",
            }

    def _pull(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        files = ModelFiles(wanted["site_dir"], wanted["passphrase"])
        intents = files.wanted(datetime.date.today())
        intent = _find(intents, wanted["model"], str(files.intent))
        locked = files.locked().get(intent.name)
        known = locked is not None and locked["intent"] == intent.document()
        offer = _locked_offer(locked) if locked and known else models_sources.offer(intent, _ask)
        shown = _shown(
            intent, offer, models_licence.note(intent, offer.licence, wanted["licences"])
        )
        if wanted["agreed"] not in (None, offer.digest):
            raise AirlockError.refuse(
                "the source offers something else than it did a moment ago",
                expected=str(wanted["agreed"]),
                found=offer.digest,
                where=f"model {intent.name}",
                fix="look at it again",
            )
        if self._task.check_mode:
            return {"changed": not known, "offer": shown}
        result = self._fetch(intent, offer, os.path.join(wanted["site_dir"], "cache"), task_vars)
        if result.get("failed"):
            return {"failed": True, "msg": result["msg"]}
        if not known:
            entry = models_lock.entry(intent, offer.origin, _locked_files(offer, result))
            files.keep(intent.name, entry, intents)
        return {
            "changed": not known or bool(result.get("changed")),
            "offer": shown,
            "locked": files.locked()[intent.name],
        }

    def _fetch(
        self, intent: Intent, offer: Offer, cache: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Have fetched what is not on the host already."""
        artifacts = [
            {
                **{key: value for key, value in file.document().items() if key != "path"},
                "name": f"model {intent.name}, {file.path}",
                "model": intent.name,
                "model_file": file.path,
            }
            for file in offer.files
            if file.source["type"] != "host"
        ]
        if not artifacts:
            return {"artifacts": []}
        with watching(cache, offer.size, self._display.display):
            result: dict[str, Any] = self._execute_module(
                module_name="homelab.airlock.artifact_fetch",
                module_args={"cache": cache, "artifacts": artifacts},
                task_vars=task_vars,
            )
        return result


def _ask(url: str, headers: Mapping[str, str]) -> Any:
    return open_url(url, headers=dict(headers), timeout=_TIMEOUT, follow_redirects="none")


def _find(intents: Mapping[str, Intent], name: str, where: str) -> Intent:
    if name not in intents:
        raise AirlockError.refuse(
            "there is no such model",
            expected=f"one of {', '.join(sorted(intents))}" if intents else "an entry for it",
            found=name,
            where=where,
            fix="write what you want and where it comes from into that file",
        )
    return intents[name]


def _locked_offer(locked: Mapping[str, Any]) -> Offer:
    files = tuple(
        OfferedFile(file["path"], file["source"], file["sha256"], file["size"])
        for file in locked["files"]
    )
    return Offer(locked["origin"], files)


def _locked_files(offer: Offer, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files as the lock has them: what was offered, with what the fetch found it to be."""
    fetched = {entry["name"].partition(", ")[2]: entry for entry in result["artifacts"]}
    found = []
    for file in offer.files:
        facts = fetched.get(file.path, {"sha256": file.sha256, "size": file.size})
        source = dict(file.source)
        if source["type"] == "https":
            source["sha256"] = facts["sha256"]
        known = {key: facts[key] for key in ("sha256", "size", "checked") if key in facts}
        found.append({"path": file.path, "source": source, **known})
    return found


def _shown(intent: Intent, offer: Offer, note: str) -> dict[str, Any]:
    """Return what a person has to see before agreeing."""
    size = human(offer.size) if offer.size else "known after it was fetched"
    files = [
        {
            "path": file.path,
            "size": file.size,
            "pin": file.sha256 or file.git_sha1 or file.source.get("sha256", ""),
        }
        for file in offer.files
    ]
    return {
        "model": intent.name,
        "origin": offer.origin,
        "revision": intent.revision,
        "licence": intent.licence,
        "licence_note": note,
        "why": intent.why,
        "size": size,
        "digest": offer.digest,
        "files": files,
        "summary": [
            f"model    {intent.name}: {intent.why}",
            f"origin   {offer.origin}",
            f"licence  {intent.licence}{f' ({note})' if note else ''}",
            f"size     {size}, {len(files)} file{'s' if len(files) > 1 else ''}",
            f"digest   {offer.digest}",
            *(f"file     {file['path']}  {file['pin']}" for file in files),
        ],
    }
