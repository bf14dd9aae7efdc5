# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what a task names (templates, files, texts, the library) into bytes for the host."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from ansible_collections.homelab.airlock.plugins.plugin_utils import revocation_lists, zipapp

_SOURCES = ("template", "src", "content", "zipapp")
_LIBRARY = Path(__file__).parents[1] / "module_utils"


class RendersFiles(ActionBase):
    """An action whose module takes the files of a role."""

    def _rendered(self, wanted: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `managed_files` with the bytes of each file for its source."""
        files = [self._resolve_file(dict(entry), task_vars) for entry in wanted.get("files") or []]
        return {**wanted, "files": files}

    def _resolve_file(self, entry: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        given = [key for key in _SOURCES if key in entry]
        if len(given) != 1:
            raise AnsibleActionFail(
                f"files[{entry.get('path', '?')}]: expected exactly one of {', '.join(_SOURCES)}, "
                f"found {', '.join(given) or 'none'}."
            )
        source = given[0]
        value = entry.pop(source)
        extra = entry.pop("vars", {})
        if source == "template":
            data = self._render(value, {**task_vars, **extra}).encode()
        elif source == "src":
            data = Path(self._find_needle("files", value)).read_bytes()
        elif source == "zipapp":
            data = zipapp.build(value, _LIBRARY)
        else:
            data = str(value).encode()
        # A prediction has the list of before, where a run would have made the next one.
        if entry.pop("crl", False) and not self._task.check_mode:
            entry |= revocation_lists.numbered(data, str(entry["path"]))
        key = "secret_b64" if entry.pop("secret", False) else "content_b64"
        return {**entry, key: base64.b64encode(data).decode()}

    def _render(self, name: str, variables: dict[str, Any]) -> str:
        path = self._find_needle("templates", name)
        text = self._loader.get_text_file_contents(path)
        templar = self._templar.copy_with_new_env(
            searchpath=[os.path.dirname(path)], available_variables=variables
        )
        return str(
            templar.template(
                trust_as_template(text),
                escape_backslashes=False,
                overrides={"trim_blocks": True, "lstrip_blocks": True},
            )
        )
