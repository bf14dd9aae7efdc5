# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begins a change on the host, then comes back over new connections to see it in force and confirm it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.homelab.airlock.plugins.plugin_utils.fresh_connection import fresh, is_ssh
from ansible_collections.homelab.airlock.plugins.plugin_utils.rendering import RendersFiles

_MODULE = "homelab.airlock.commit_confirm"
_PAUSE = 0.5
# The host counts from a moment before its answer was here.
_MARGIN = 2
# So long after its timer the host may take to be back: it may be booting.
_PATIENCE = 60


class ActionModule(RendersFiles):
    """One execution when nothing differs; else three, the last two over connections of their own."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        if not is_ssh(self._connection):
            raise AnsibleActionFail(
                f"commit_confirm: expected an SSH connection, found {self._connection.transport}, which would still "
                "work when nobody can reach the host any more; set ansible_connection to ssh for this host."
            )
        arguments = dict(self._task.args)
        arguments["files"] = self._rendered(dict(arguments.get("files") or {}), self._task_vars)
        begun = self._module(arguments)
        number = begun.pop("number", None)
        if number is None:
            return begun
        known = str(self._connection.get_option("host"))
        address = str(arguments.get("address") or known)
        self._question = {"change": arguments["change"], "number": number, "files": {}}
        try:
            return {
                **begun,
                "confirmed": self._confirm(address, int(arguments.get("timeout", 90)), known),
            }
        finally:
            # What was kept open since before proves nothing, and may be dead.
            self._connection.reset()

    def _confirm(self, address: str, timeout: int, known: str) -> dict[str, Any]:
        """Return where and how fast the confirmation arrived; raise what became of it otherwise."""
        started = time.monotonic()
        stage, obstacle = "look", "the host said nothing"
        while time.monotonic() < started + timeout - _MARGIN:
            try:
                outcome = self._ask(address, stage)
            except (AnsibleConnectionFailure, AnsibleActionFail) as exc:
                obstacle = " ".join(str(exc).split())
            else:
                if outcome["state"] == "confirmed":
                    ms = int((time.monotonic() - started) * 1000)
                    return {"address": address, "ms": ms}
                if outcome["state"] in ("reverted", "unknown"):
                    raise AnsibleActionFail(self._undone(outcome["detail"]))
                # Only a connection that was opened once the change was in force proves anything.
                stage = "confirm" if outcome["state"] == "applied" else "look"
                obstacle = f"the change was still {outcome['state']}"
            time.sleep(_PAUSE)
        raise AnsibleActionFail(
            f"No new connection to {address} confirmed the change within {timeout} s ({obstacle}). "
            + self._seen_after(known, started + timeout)
        )

    def _seen_after(self, address: str, deadline: float) -> str:
        """Return a sentence on the host after its timer, as it says so itself at ``address``."""
        while time.monotonic() < deadline + _PATIENCE:
            time.sleep(max(_PAUSE, deadline - time.monotonic()))
            with contextlib.suppress(AnsibleConnectionFailure, AnsibleActionFail):
                outcome = self._ask(address, "look")
                if outcome["state"] in ("reverted", "confirmed"):
                    return (
                        self._undone(outcome["detail"])
                        if outcome["state"] == "reverted"
                        else (f"It was confirmed all the same, and is in force on {self._host()}.")
                    )
        return (
            f"{self._host()} does not answer at {address} either, {_PATIENCE} s after its timer was due. It undoes the "
            f"change at its next start at the latest; at its console, 'systemctl start "
            f"airlock-revert@{self._question['change']}' undoes it now."
        )

    def _undone(self, detail: str) -> str:
        return (
            f"{self._host()} has put the previous state of '{self._question['change']}' back, as it says itself over a "
            f"new connection, and is as it was before this task: {detail or 'the change is not known there any more'}."
        )

    def _host(self) -> str:
        return str(self._task_vars.get("inventory_hostname", "The host"))

    def _ask(self, address: str, stage: str) -> dict[str, str]:
        """Return the outcome of the change so far. Raises AnsibleConnectionFailure, AnsibleActionFail."""
        with self._over_a_new_connection(address):
            answer = self._module({**self._question, "stage": stage})
        if "outcome" not in answer:
            raise AnsibleActionFail(str(answer.get("msg", "the module said nothing")))
        return dict(answer["outcome"])

    @contextlib.contextmanager
    def _over_a_new_connection(self, address: str) -> Iterator[None]:
        kept = self._connection
        self._connection = fresh(kept, self._play_context, address)
        try:
            yield
        finally:
            self._connection = kept

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args=arguments, task_vars=self._task_vars
        )
        return result
