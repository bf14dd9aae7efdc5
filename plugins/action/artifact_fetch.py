# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches on the controller, and says how far it is when that takes long."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.plugin_utils.progress import watching


class ActionModule(ActionBase):
    """One execution of the module, watched."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        sizes = [int(entry.get("size") or 0) for entry in arguments.get("artifacts") or []]
        with watching(str(arguments.get("cache")), sum(sizes), self._display.display):
            result: dict[str, Any] = self._execute_module(
                module_name="homelab.airlock.artifact_fetch",
                module_args=arguments,
                task_vars=task_vars,
            )
        return result
