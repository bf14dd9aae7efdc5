# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders every file of a role on the controller, then places them all in one module execution."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.airlock.plugins.plugin_utils.rendering import RendersFiles


class ActionModule(RendersFiles):
    """Replaces the source of each file by its bytes; everything else goes to the module as it is."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        result: dict[str, Any] = self._execute_module(
            module_name="homelab.airlock.managed_files",
            module_args=self._rendered(dict(self._task.args), task_vars or {}),
            task_vars=task_vars,
        )
        return result
