# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends artifacts to a host: asks what it lacks, uploads that as the ordinary user, lets root place it."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import human

_MODULE = "homelab.airlock.artifact_push"
_CHUNK = 32 * 1024 * 1024
_TELL_SECONDS = 10


class NoRoom(AnsibleActionFail):  # type: ignore[misc]
    """The disk of the host is full."""


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
        have = {each["sha256"]: each["have"] for each in missing}
        staging = {"phase": "discard", "staging": staged["staging"]}
        for entry in entries:
            try:
                self._upload(entry, arguments["cache"], staged["staging"], have[entry["sha256"]])
            except NoRoom:
                self._module({**arguments, **staging}, task_vars)
                raise
            have[entry["sha256"]] = entry["size"]
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

    def _upload(self, entry: dict[str, Any], cache: str, staging: str, have: int) -> None:
        """Send the artifact from byte ``have`` on, in pieces, so that a broken connection costs one of them."""
        name = f"sha256-{entry['sha256']}"
        source = os.path.join(cache, name)
        if not os.path.isfile(source):
            raise AnsibleActionFail(
                f"{source}: expected the artifact for {entry['dest']}, found no file; run artifact_fetch first."
            )
        size = os.path.getsize(source)
        resumed = f", going on after {human(have)}" if 0 < have < size else ""
        self._display.v(f"Sending {human(size)} for {entry['dest']}{resumed}")
        told = time.monotonic()
        with open(source, "rb") as handle:
            handle.seek(have)
            while chunk := handle.read(_CHUNK):
                self._send(chunk, os.path.join(staging, name), have, entry["dest"])
                have += len(chunk)
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    self._display.display(
                        f"{entry['dest']}: {human(have)} of {human(size)} sent, {100 * have // size} %"
                    )

    def _send(self, chunk: bytes, path: str, offset: int, subject: str) -> None:
        """Write ``chunk`` at ``offset`` of the upload, which may be there already."""
        command = (
            f"LC_ALL=C dd of={shlex.quote(path)} bs=1M seek={offset} oflag=seek_bytes conv=notrunc "
            "iflag=fullblock status=none"
        )
        answer = self._low_level_execute_command(command, sudoable=False, in_data=chunk)
        if answer["rc"] == 0:
            return
        said = answer.get("stderr", "").strip()
        if "No space left" in said or "quota exceeded" in said:
            raise NoRoom(
                f"{subject}: the disk of the host is full after {human(offset)}; make room, then run again; "
                "nothing was kept."
            )
        raise AnsibleActionFail(
            f"{subject}: the upload failed after {human(offset)}: {said or 'no reason'}."
        )
