# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of an action that works on the files of a site and opens no connection of its own accord."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.errors import AirlockError
from ..module_utils.files import write_atomic


class ControllerAction(ActionBase):  # type: ignore[misc]  # ansible has no types
    """Checks the arguments by ``_SPEC`` and ``_RULES``, and turns a refusal into a failure of one sentence.

    ``_RULES`` are further arguments of ``ActionBase.validate_argument_spec``, such as ``required_if``.
    """

    _requires_connection = False
    _supports_check_mode = True
    _SPEC: ClassVar[dict[str, Any]] = {}
    _RULES: ClassVar[dict[str, Any]] = {}

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what :meth:`perform` returns."""
        super().run(tmp, task_vars)
        self._task_vars = task_vars
        _validated, wanted = self.validate_argument_spec(self._SPEC, **self._RULES)
        try:
            return self.perform(wanted)
        except (AirlockError, OSError) as exc:
            raise AnsibleActionFail(str(exc)) from exc

    @abstractmethod
    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Do what the checked arguments say; return the result. Raises AirlockError, OSError."""

    def write(self, path: Path, text: str) -> bool:
        """Make ``text`` the content of a file for its owner alone; return whether it was another.

        In check mode nothing is written. Raises OSError.
        """
        changed = not path.is_file() or path.read_text("utf-8") != text
        if changed and not self._task.check_mode:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomic(str(path), text.encode(), mode=0o600)
        return changed
