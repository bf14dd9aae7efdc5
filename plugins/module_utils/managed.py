# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placing and removing everything that a role owns on a host, with one record of it.

Files that tell systemd something are activated where they are placed: unit files by a
daemon-reload, sysusers.d(5) files by systemd-sysusers, tmpfiles.d(5) files by systemd-tmpfiles.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterable

from . import sealing
from .commands import Run
from .errors import AirlockError
from .files import read_limited, write_atomic
from .managed_specs import Directory, File, Link, Outcome, accounts, diff, exists, facts_of, why
from .ownership import PENDING, Record

DISPLACED = "/var/lib/airlock/displaced"
UNIT_DIRECTORY = "/etc/systemd/system/"
SYSUSERS_DIRECTORY = "/etc/sysusers.d/"
TMPFILES_DIRECTORY = "/etc/tmpfiles.d/"
_MAX_BYTES = 64 * 1024 * 1024


def displaced_path(path: str) -> str:
    """Return where the foreign file that stood at ``path`` is kept."""
    return os.path.join(DISPLACED, path.strip("/").replace("/", "%"))


class Manager:
    """Applies the wanted state of one role; ``check`` predicts and touches nothing."""

    def __init__(self, role: str, record: Record, run: Run, *, check: bool = False):
        self.role = role
        self.record = record
        self.run = run
        self.check = check
        self.outcome = Outcome()

    # -- present ---------------------------------------------------------------------------

    def present(
        self,
        directories: Iterable[Directory] = (),
        files: Iterable[File] = (),
        links: Iterable[Link] = (),
        units: Iterable[str] = (),
        *,
        prune: bool = False,
    ) -> Outcome:
        """Bring everything into place. Raises AirlockError and OSError.

        A foreign file in the way, and one that is newer, are refused before anything is touched; a validator refuses
        its own file and leaves the old one in place.
        """
        directories, files, links = list(directories), list(files), list(links)
        for entry in files:
            self._refuse_foreign(entry)
            self._refuse_older(entry)
        for directory in directories:
            self._place_directory(directory)
        for entry in files:
            self._place_file(entry)
        for link in links:
            self._place_link(link)
        for unit in units:
            self.record.claim(self.role, "units", unit)
        if prune:
            self._prune({entry.path for entry in files})
        entries: list[Directory | File | Link] = [*directories, *files, *links]
        named = {entry.path for entry in entries}
        self._recall(path for path in self._pending() if prune or path in named)
        self._activate(files)
        return self.outcome

    def _refuse_foreign(self, entry: File) -> None:
        owner = self.record.owner_of("files", entry.path)
        if owner not in (None, self.role):
            raise AirlockError.refuse(
                f"the file belongs to role {owner}",
                where=entry.path,
                fix="name it in one role only",
            )
        foreign = owner is None and not entry.adopt and os.path.lexists(entry.path)
        if foreign and self._current(entry.path) != entry.content:
            raise AirlockError.refuse(
                "a file that this collection did not write is in the way",
                where=entry.path,
                fix="move it away, then run again",
            )

    def _refuse_older(self, entry: File) -> None:
        facts = self.record.claims(self.role, "files").get(entry.path, {})
        if entry.serial is None or facts.get("series") != entry.series:
            return
        if entry.serial < facts["serial"]:
            raise AirlockError.refuse(
                "the host has a newer one",
                expected=f"number {facts['serial']} or later",
                found=str(entry.serial),
                where=entry.path,
                fix="run the same again, for another run was faster; if it stays so, the site directory is an older "
                "copy (docs/guides/certificates.md, Back it up)",
            )

    def _place_directory(self, entry: Directory) -> None:
        uid, gid = self._ids(entry.owner, entry.group)
        if not os.path.lexists(entry.path):
            self.outcome.note(entry.path, "the directory is missing")
            if not self.check:
                self._make_parents(entry.path)
                os.mkdir(entry.path)
                self.record.claim(self.role, "directories", entry.path, purge=entry.purge)
        elif not stat.S_ISDIR(os.lstat(entry.path).st_mode):
            raise AirlockError.refuse(
                "something else is in the way", expected="a directory", where=entry.path
            )
        self._set_attributes(entry.path, entry.mode, uid, gid)

    def _make_parents(self, path: str) -> None:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            self._make_parents(parent)
            os.mkdir(parent)
            os.chmod(parent, 0o755)
            self.record.claim(self.role, "directories", parent, purge=False)

    def _place_file(self, entry: File) -> None:
        uid, gid = self._ids(entry.owner, entry.group)
        current = self._current(entry.path)
        ours = entry.path in self.record.claims(self.role, "files")
        facts = self.record.claims(self.role, "files").get(entry.path, {})
        if current == entry.content:
            if ours:
                self.record.claim(self.role, "files", entry.path, **facts_of(entry, facts))
            self._set_attributes(entry.path, entry.mode, uid, gid)
            return
        self.outcome.note(entry.path, why(current, facts))
        self.outcome.diffs.append(diff(entry, current))
        if self.check:
            return
        if current is not None and not ours:
            facts = {**facts, "displaced": self._displace(entry.path)}
        self._make_parents(entry.path)
        write_atomic(
            entry.path,
            entry.content,
            mode=entry.mode,
            uid=uid,
            gid=gid,
            check=lambda temporary: self._validate(entry, temporary),
        )
        self.record.claim(self.role, "files", entry.path, **facts_of(entry, facts))

    def _place_link(self, entry: Link) -> None:
        if os.path.islink(entry.path) and os.readlink(entry.path) == entry.target:
            return
        if os.path.lexists(entry.path) and entry.path not in self.record.claims(self.role, "links"):
            raise AirlockError.refuse(
                "a file that this collection did not write is in the way",
                expected=f"a link to {entry.target}",
                where=entry.path,
                fix="move it away, then run again",
            )
        self.outcome.note(entry.path, f"the link to {entry.target} is missing")
        if not self.check:
            if os.path.lexists(entry.path):
                os.unlink(entry.path)
            self._make_parents(entry.path)
            os.symlink(entry.target, entry.path)
            self.record.claim(self.role, "links", entry.path, target=entry.target)

    def _prune(self, wanted: set[str]) -> None:
        for path in sorted(set(self.record.claims(self.role, "files")) - wanted):
            self.outcome.note(path, "the role no longer has this file")
            if not self.check:
                self._remove_file(path)

    # -- absent ----------------------------------------------------------------------------

    def absent(self) -> Outcome:
        """Remove what the record says this role brought, units first. Raises AirlockError."""
        claims = {kind: self.record.claims(self.role, kind) for kind in ("units", "links", "files")}
        if claims["units"]:
            self._stop(list(claims["units"]))
        for path in sorted(claims["links"]):
            self.outcome.note(path, "removed")
            if not self.check:
                if os.path.islink(path):
                    os.unlink(path)
                self.record.release(self.role, "links", path)
        for path in sorted(claims["files"]):
            self.outcome.note(path, "removed")
            if not self.check:
                self._remove_file(path)
        self._remove_trees()
        self._remove_accounts()
        self._recall(self._pending())
        self._reload_if_needed(self.outcome.changed_paths)
        if not self.check:
            self._remove_directories()
        return self.outcome

    def _stop(self, units: list[str]) -> None:
        for unit in units:
            self.outcome.note(unit, "stopped and disabled")
        if self.check:
            return
        # Sockets go first, or a late client would start the service again.
        units = sorted(units, key=lambda unit: (not unit.endswith((".socket", ".timer")), unit))
        known = [unit for unit in units if self.run(["systemctl", "cat", unit])[0] == 0]
        if known:
            status, output = self.run(["systemctl", "disable", "--now", *known])
            if status != 0:
                raise AirlockError.refuse(
                    f"systemd could not stop {', '.join(known)}", found=output.strip()
                )
            self.run(["systemctl", "reset-failed", *known])
        for unit in units:
            self.record.release(self.role, "units", unit)

    def _remove_file(self, path: str) -> None:
        displaced = self.record.claims(self.role, "files").get(path, {}).get("displaced")
        if displaced and os.path.exists(displaced):
            shutil.move(displaced, path)
        elif os.path.lexists(path):
            sealing.remove(path)
        self.record.release(self.role, "files", path)

    def _remove_trees(self) -> None:
        for path in sorted(self.record.claims(self.role, "trees")):
            self.outcome.note(path, "removed with everything below it")
            if not self.check:
                if os.path.isdir(path):
                    shutil.rmtree(path)
                self.record.release(self.role, "trees", path)

    def _remove_accounts(self) -> None:
        for kind, command in (("users", "userdel"), ("groups", "groupdel")):
            for name in sorted(self.record.claims(self.role, kind)):
                self.outcome.note(name, "account removed")
                if self.check:
                    continue
                status, output = self.run([command, name])
                # 6: no such account (userdel(8), groupdel(8)); a user takes its own group along.
                if status not in (0, 6):
                    raise AirlockError.refuse(f"{command} {name} failed", found=output.strip())
                self.record.release(self.role, kind, name)

    def _remove_directories(self) -> None:
        claims = self.record.claims(self.role, "directories")
        for path in sorted(claims, key=len, reverse=True):
            self.outcome.note(path, "removed")
            self.record.release(self.role, "directories", path)
            if claims[path].get("purge"):
                shutil.rmtree(path, ignore_errors=True)
            elif os.path.isdir(path) and not os.listdir(path):
                os.rmdir(path)

    # -- parts -----------------------------------------------------------------------------

    def _pending(self) -> list[str]:
        return sorted(self.record.claims(self.role, PENDING))

    def _recall(self, paths: Iterable[str]) -> None:
        """Count what an earlier run has changed, and left without effect, to what has changed."""
        for path in paths:
            if path not in self.outcome.changed_paths:
                self.outcome.pending.append(path)
                self.outcome.note(path, "an earlier run ended before this was in force")

    def _current(self, path: str) -> bytes | None:
        try:
            return read_limited(path, _MAX_BYTES)
        except FileNotFoundError:
            return None

    def _ids(self, owner: str, group: str) -> tuple[int, int]:
        try:
            return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
        except KeyError:
            if self.check:  # an earlier role would make the account
                return -1, -1
            raise AirlockError.refuse(
                f"the account {owner}:{group} does not exist", fix="run the role baseline first"
            ) from None

    def _set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None:
        try:
            now = os.lstat(path)
        except FileNotFoundError:  # check mode: it would have been made above
            return
        if stat.S_IMODE(now.st_mode) == mode and -1 in (uid, gid):
            return
        if (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (mode, uid, gid):
            return
        if path not in self.outcome.changed_paths:
            self.outcome.note(path, f"mode or owner differ from {mode:04o}")
        if not self.check:
            os.chown(path, uid, gid)
            os.chmod(path, mode)

    def _displace(self, path: str) -> str:
        os.makedirs(DISPLACED, mode=0o700, exist_ok=True)
        kept = displaced_path(path)
        shutil.copy2(path, kept)
        now = os.stat(path)
        os.chown(kept, now.st_uid, now.st_gid)
        return kept

    def _validate(self, entry: File, temporary: str) -> None:
        if not entry.validate:
            return
        status, output = self.run(
            [word.replace("%s", temporary) for word in entry.validate.split()]
        )
        if status != 0:
            raise AirlockError.refuse(
                f"the new content was refused by '{entry.validate.split()[0]}'",
                found=output.strip().replace(temporary, entry.path),
                where=entry.path,
                fix="the old file is still in place",
            )

    def _activate(self, files: list[File]) -> None:
        for entry in files:
            if entry.path.startswith(SYSUSERS_DIRECTORY):
                self._make_accounts(entry)
        for entry in files:
            changed = entry.path in self.outcome.changed_paths
            if entry.path.startswith(TMPFILES_DIRECTORY) and changed and not self.check:
                self._must(["systemd-tmpfiles", "--create", entry.path])
        self._reload_if_needed(self.outcome.changed_paths)

    def _make_accounts(self, entry: File) -> None:
        missing = [(kind, name) for kind, name in accounts(entry.content) if not exists(kind, name)]
        if not missing:
            return
        for _kind, name in missing:
            self.outcome.note(name, "the account is missing")
        if self.check:
            return
        self._must(["systemd-sysusers", entry.path])
        for kind, name in missing:
            self.record.claim(self.role, kind, name)

    def _reload_if_needed(self, paths: list[str]) -> None:
        self.outcome.daemon_reload = any(path.startswith(UNIT_DIRECTORY) for path in paths)
        if self.outcome.daemon_reload and not self.check:
            self._must(["systemctl", "daemon-reload"])

    def _must(self, command: list[str]) -> None:
        status, output = self.run(command)
        if status != 0:
            raise AirlockError.refuse(f"'{' '.join(command)}' failed", found=output.strip())
