# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends artifacts to a host: asks what it lacks, uploads that as the ordinary user, lets root place it."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import human

_MODULE = "homelab.airlock.artifact_push"


class ActionModule(ActionBase):
    """Two executions of the module around the uploads; one when nothing is missing."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        by_place = {entry.get("dest"): entry for entry in arguments.get("artifacts") or []}
        staged = self._module({**arguments, "uploader": self._connection_user()}, task_vars)
        missing = staged.get("missing", [])
        if staged.get("failed") or not missing or self._task.check_mode:
            return staged
        entries = [by_place[each["dest"]] for each in missing]
        for entry in entries:
            self._upload(entry, arguments["cache"], staged["staging"])
        placed = self._module(
            {
                **arguments,
                "artifacts": entries,
                "phase": "place",
                "staging": staged["staging"],
            },
            task_vars,
        )
        return placed if placed.get("failed") else staged

    def _module(
        self, arguments: dict[str, Any], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args=arguments, task_vars=task_vars
        )
        return result

    def _connection_user(self) -> int:
        """Return the user id that uploads, which is not the one that the module runs as."""
        answer = self._low_level_execute_command("id -u", sudoable=False)
        try:
            return int(answer["stdout"].strip())
        except ValueError as exc:
            raise AnsibleActionFail(
                f"'id -u' on the host: expected a number, found {answer['stdout']!r}; check the login shell."
            ) from exc

    def _upload(self, entry: dict[str, Any], cache: str, staging: str) -> None:
        name = f"sha256-{entry['sha256']}"
        source = os.path.join(cache, name)
        if not os.path.isfile(source):
            raise AnsibleActionFail(
                f"{source}: expected the artifact for {entry['dest']}, found no file; run artifact_fetch first."
            )
        self._display.v(f"Sending {human(os.path.getsize(source))} for {entry['dest']}")
        self._connection.put_file(source, os.path.join(staging, name))
