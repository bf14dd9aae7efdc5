# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the evidence page or a survey page on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.files import write_atomic
from ansible_collections.homelab.airlock.plugins.plugin_utils.pages import (
    evidence,
    files,
    render,
    survey,
)


class ActionModule(ActionBase):
    """Reads the files below evidence/ and renders them."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, wanted = self.validate_argument_spec(
            {
                "kind": {"type": "str", "choices": ["evidence", "survey"], "required": True},
                "site_dir": {"type": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "host": {"type": "str"},
            },
            required_if=[("kind", "survey", ["host"])],
        )
        dest = Path(wanted["dest"])
        try:
            text = _render(wanted["kind"], Path(wanted["site_dir"]), wanted["host"])
            changed = not dest.is_file() or dest.read_text("utf-8") != text
            if changed and not self._task.check_mode:
                write_atomic(str(dest), text.encode(), mode=0o600)
        except (AirlockError, OSError) as exc:
            raise AnsibleActionFail(str(exc)) from exc
        return {"changed": changed, "dest": str(dest)}


def _render(kind: str, site_dir: Path, host: str | None) -> str:
    if kind == "evidence":
        context = evidence.context(files.evidence(site_dir), files.surveys(site_dir))
        return render.page("evidence.html.j2", context)
    seen = files.survey(site_dir, str(host))
    return render.page("survey.html.j2", survey.context(str(host), seen))
