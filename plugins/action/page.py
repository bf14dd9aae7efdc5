# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the evidence page or a survey page on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.pages import (
    evidence,
    files,
    render,
    survey,
)


class ActionModule(ControllerAction):
    """Reads the files below evidence/ and renders them."""

    _SPEC: ClassVar[dict[str, Any]] = {
        "kind": {"type": "str", "choices": ["evidence", "survey"], "required": True},
        "site_dir": {"type": "path", "required": True},
        "dest": {"type": "path", "required": True},
        "host": {"type": "str"},
    }
    _RULES: ClassVar[dict[str, Any]] = {"required_if": [("kind", "survey", ["host"])]}

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        dest = Path(wanted["dest"])
        text = _render(wanted["kind"], Path(wanted["site_dir"]), wanted["host"])
        return {"changed": self.write(dest, text), "dest": str(dest)}


def _render(kind: str, site_dir: Path, host: str | None) -> str:
    if kind == "evidence":
        context = evidence.context(files.evidence(site_dir), files.surveys(site_dir))
        return render.page("evidence.html.j2", context)
    seen = files.survey(site_dir, str(host))
    return render.page("survey.html.j2", survey.context(str(host), seen))
