# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that can cut the owner off, and that undo themselves unless somebody gets through.

A change is a directory below ``/var/lib/airlock/changes``, for root alone, with

``pending.json``  the marker: number, commands and the state before. Written before anything is
                  changed, gone when the change is confirmed or undone.
``tables.nft``    the kernel tables before.
``outcome.json``  ``{"number": ..., "state": applied | confirmed | reverted, "detail": "..."}``.
``output``        what the commands said.

Three things undo it: its own failure, a timer of systemd that its begin has armed, and
``airlock-revert.service`` before the network comes up, for what was pending when the power went.
The last one leaves a change alone whose timer runs: starting any other unit can pull it in between apply
and confirmation.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import canonical
from .changes_saved import put_back, state_of, tables_of
from .commands import Run
from .errors import AirlockError
from .files import alone, fsync_directory, read_limited, write_atomic
from .managed_plan import Plan
from .ownership import PATH as RECORD

PROGRAM = "/usr/lib/airlock/changes.py"
# So long the answer of the module has to reach the controller before anything can cut it off.
_HEAD_START = 1.0
_MAX_BYTES = canonical.MAX_BYTES


class Changes:
    """The changes of the host whose files lie below ``root``."""

    def __init__(self, run: Run, root: str = "/", record: str = RECORD):
        self.run = run
        self.directory = os.path.join(root, "var/lib/airlock/changes")
        self.record = record

    def begin(
        self,
        change: str,
        plan: Plan,
        *,
        timeout: int,
        tables: Sequence[str],
        running: Sequence[str],
        commands: dict[str, list[list[str]]],
        place: Callable[[], None],
    ) -> str:
        """Save, mark, arm, let ``place`` write the files, and start the rest; return the number.

        ``commands`` are ``apply``, ``revert`` and ``revert_boot``, of which the first run detached
        a moment after this returns. The host goes back ``timeout`` seconds from now. Raises
        AirlockError and OSError; what was changed is undone in that case.
        """
        if not os.path.isdir(self.directory):
            raise AirlockError.refuse(
                "nothing on this host could undo the change",
                expected=f"the directory {self.directory} and the units airlock-revert",
                fix="run the role baseline first",
            )
        with self._locked():
            self._finish_former(change)
            number = secrets.token_hex(8)
            self._save(change, number, plan, tables, running, commands)
            try:
                self._arm(change, timeout)
                place()
                self._start_apply(change)
            except BaseException:
                self._revert(change, "it could not be started")
                raise
        return number

    def settle(self, change: str, *, check: bool) -> None:
        """Make sure that no change is pending before one is looked at.

        One that still waits for its confirmation is refused, for what it changed may be gone in a moment;
        one of that name that nobody waits for any more is undone, but not with ``check``. Raises
        AirlockError, OSError.
        """
        if os.path.isdir(self.directory):
            with self._locked():
                self._finish_former(change, check=check)

    def apply(self, change: str) -> bool:
        """Run the commands of a pending change; return whether all worked, else it is undone.

        Raises AirlockError and OSError when undoing fails, too.
        """
        pending = self._pending(change)
        if pending is None:
            return False
        time.sleep(_HEAD_START)
        detail = ""
        with open(self._path(change, "output"), "w", encoding="utf-8") as output:
            for command in pending["apply"]:
                status, said = self.run(command)
                output.write(f"$ {' '.join(command)}\n{said}")
                if status != 0:
                    words = " ".join(said.split()) or f"exit status {status}"
                    detail = f"'{' '.join(command)}' failed: {words}"
                    break
        with self._locked():
            if self._pending(change) is None:
                return False
            if detail:
                self._revert(change, detail)
            else:
                self._conclude(change, pending["number"], "applied")
        return not detail

    def confirm(self, change: str, number: str) -> dict[str, str]:
        """Keep the change with that number, if it was applied; return its outcome as `outcome`."""
        with self._locked():
            state = self.outcome(change, number)["state"]
            if state == "applied":
                self._conclude(change, number, "confirmed")
            if state in ("applied", "confirmed"):  # the latter where the former call was cut short
                self._disarm(change)
        return self.outcome(change, number)

    def outcome(self, change: str, number: str) -> dict[str, str]:
        """Return ``{"state", "detail"}``: pending, applied, confirmed, reverted, or unknown."""
        with contextlib.suppress(FileNotFoundError):
            outcome = self._read(change, "outcome.json")
            if outcome["number"] == number:
                return {"state": outcome["state"], "detail": outcome["detail"]}
        pending = self._pending(change)
        ours = pending is not None and pending["number"] == number
        return {"state": "pending" if ours else "unknown", "detail": ""}

    def revert(self, change: str, detail: str, *, boot: bool = False) -> bool:
        """Undo the change if it is pending; return whether it was. Raises AirlockError, OSError."""
        with self._locked():
            if not self._is_pending(change) or (boot and self._waits(change)):
                return False
            if self._is_confirmed(change):
                self._disarm(change)
                return False
            # It may hang, or wait for the lock that is held here.
            self.run(["systemctl", "stop", _apply_unit(change)])
            self._revert(change, detail, boot=boot)
        return True

    def pending(self) -> list[str]:
        """Return the names of all pending changes."""
        return sorted(filter(self._is_pending, os.listdir(self.directory)))

    # -- parts -----------------------------------------------------------------------------

    def _is_pending(self, change: str) -> bool:
        return os.path.exists(self._path(change, "pending.json"))

    def _is_confirmed(self, change: str) -> bool:
        number = self._read(change, "pending.json")["number"]
        return self.outcome(change, number)["state"] == "confirmed"

    def _waits(self, change: str) -> bool:
        """Will it undo itself, or is it about to?"""
        units = (_timer(change), _service(change))
        return any(self.run(["systemctl", "is-active", "--quiet", unit])[0] == 0 for unit in units)

    def _finish_former(self, change: str, *, check: bool = False) -> None:
        for other in self.pending():
            # Another one may be the path that this one would be confirmed over.
            if self._waits(other):
                raise AirlockError.refuse(
                    f"a change of {other} still waits for its confirmation",
                    where=self._path(other, "pending.json"),
                    fix="it undoes itself when its time is over; run again then",
                )
        if self._is_pending(change) and not check:
            self._revert(change, "nobody confirmed it")

    def _save(
        self,
        change: str,
        number: str,
        plan: Plan,
        tables: Sequence[str],
        running: Sequence[str],
        commands: dict[str, list[list[str]]],
    ) -> None:
        state = state_of(plan, running, self.run, self.record)
        before = tables_of(tables, self.run)
        directory = self._path(change, "")
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory, mode=0o700)
        saved = self._path(change, "tables.nft")
        write_atomic(saved, before.encode(), mode=0o600)
        if before:
            self._must(["nft", "-c", "-f", saved])
        pending = {"number": number, "state": state, **commands}
        write_atomic(self._path(change, "pending.json"), canonical.dumps(pending), mode=0o600)
        fsync_directory(self.directory)

    def _arm(self, change: str, timeout: int) -> None:
        # OnActiveSec= counts the monotonic clock (systemd.timer(5)): setting the time moves nothing.
        self.run(["systemctl", "reset-failed", _timer(change), _service(change)])
        self._must(
            [
                *("systemd-run", "--quiet", f"--on-active={timeout}"),
                *("--timer-property=AccuracySec=1s", f"--unit={_service(change)}"),
            ]
        )

    def _start_apply(self, change: str) -> None:
        self._must(
            [
                *("systemd-run", "--quiet", "--collect", "--no-block"),
                f"--unit={_apply_unit(change)}",
                *("/usr/bin/python3", "-I", PROGRAM, "apply", change),
            ]
        )

    def _revert(self, change: str, detail: str, *, boot: bool = False) -> None:
        pending = self._read(change, "pending.json")
        complaints = put_back(
            pending["state"],
            self._path(change, "tables.nft"),
            pending["revert_boot" if boot else "revert"],
            self.run,
            self.record,
            boot=boot,
        )
        self._conclude(change, pending["number"], "reverted", "; ".join([detail, *complaints]))
        self._disarm(change)

    def _conclude(self, change: str, number: str, state: str, detail: str = "") -> None:
        outcome = {"number": number, "state": state, "detail": detail}
        write_atomic(self._path(change, "outcome.json"), canonical.dumps(outcome), mode=0o600)

    def _disarm(self, change: str) -> None:
        for name in ("pending.json", "tables.nft"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(change, name))
        fsync_directory(self._path(change, ""))
        self.run(["systemctl", "stop", _timer(change)])

    def _pending(self, change: str) -> Any:
        try:
            return self._read(change, "pending.json")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read(self, change: str, name: str) -> Any:
        path = self._path(change, name)
        return canonical.loads(read_limited(path, _MAX_BYTES), where=path)

    def _path(self, change: str, name: str) -> str:
        return os.path.join(self.directory, change, name)

    def _must(self, command: list[str]) -> None:
        status, output = self.run(command)
        if status != 0:
            raise AirlockError.refuse(f"'{' '.join(command)}' failed", found=output.strip())

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        """Let one process at a time decide what becomes of changes."""
        return alone(self.directory)


def _service(change: str) -> str:
    return f"airlock-revert@{change}.service"


def _timer(change: str) -> str:
    return f"airlock-revert@{change}.timer"


def _apply_unit(change: str) -> str:
    return f"airlock-apply-{change}.service"
