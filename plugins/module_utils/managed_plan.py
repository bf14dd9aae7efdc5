# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task wants of a role's files: from the parameters of a module to a plan that is carried out."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .commands import Run
from .managed import Manager
from .managed_specs import Directory, File, Link, Outcome
from .ownership import PATH, PENDING, Record, exclusive

_ATTRIBUTES = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}

SPEC: dict[str, Any] = {
    "role": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **_ATTRIBUTES,
            "mode": {"type": "str", "default": "0755"},
            "purge": {"type": "bool", "default": False},
        },
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **_ATTRIBUTES,
            "mode": {"type": "str", "default": "0644"},
            "validate": {"type": "str", "default": ""},
            "adopt": {"type": "bool", "default": False},
            "serial": {"type": "int"},
            "series": {"type": "str", "default": ""},
            "content_b64": {"type": "str"},
            "secret_b64": {"type": "str", "no_log": True},
        },
        "required_one_of": [("content_b64", "secret_b64")],
    },
    "links": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "target": {"type": "str", "required": True},
        },
    },
    "units": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "bool", "default": False},
    "follow_up": {"type": "bool", "default": False},
    "in_force": {"type": "list", "elements": "str", "default": []},
}
"""The parameters of `managed_files`, as AnsibleModule takes them."""


@dataclass(frozen=True)
class Plan:
    """What shall be there (``state`` present), or that nothing of the role shall (absent).

    Before anything is changed its path is pending in the record. It is no longer when all was done,
    or with ``follow_up`` when a later plan names it ``in_force``.
    """

    role: str
    state: str = "present"
    directories: Sequence[Directory] = ()
    files: Sequence[File] = ()
    links: Sequence[Link] = ()
    units: Sequence[str] = field(default=())
    prune: bool = False
    follow_up: bool = False
    in_force: Sequence[str] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Plan:
        """Return the plan of parameters that `SPEC` has validated."""
        return cls(
            params["role"],
            params["state"],
            [_directory(entry) for entry in params["directories"]],
            [_file(entry) for entry in params["files"]],
            [Link(entry["path"], entry["target"]) for entry in params["links"]],
            params["units"],
            params["prune"],
            params["follow_up"],
            params["in_force"],
        )

    def carry_out(self, run: Run, *, check: bool = False, record_path: str = PATH) -> Outcome:
        """Bring the host there, or predict it. Raises AirlockError and OSError.

        What was placed before a failure is ours all the same, and stands in the record.
        """
        if check:
            return self._predict(run, record_path)
        with exclusive(record_path):
            record = Record.load(record_path)
            stored = record.to_bytes()
            self._announce(record, self._predict(run, record_path))
            if record.to_bytes() != stored:
                record.save(record_path)
                stored = record.to_bytes()
            try:
                outcome = self._carry_out(Manager(self.role, record, run))
                if not self.follow_up:
                    self._release(record, outcome.changed_paths)
                return outcome
            finally:
                if record.to_bytes() != stored:
                    record.save(record_path)

    def _predict(self, run: Run, record_path: str) -> Outcome:
        record = Record.load(record_path)
        self._release(record, self.in_force)
        return self._carry_out(Manager(self.role, record, run, check=True))

    def _carry_out(self, manager: Manager) -> Outcome:
        if self.state == "absent":
            return manager.absent()
        return manager.present(
            self.directories, self.files, self.links, self.units, prune=self.prune
        )

    def _announce(self, record: Record, predicted: Outcome) -> None:
        """Enter what is about to be made and changed.

        Whenever the power goes, nothing of ours is on the host without an owner, and the next run
        knows what this one has not brought to its end.
        """
        self._release(record, self.in_force)
        for path in filter(os.path.isabs, predicted.changed_paths):  # not names of accounts, units
            record.claim(self.role, PENDING, path)
        if self.state == "absent":
            return
        for directory in self.directories:
            if not os.path.lexists(directory.path):
                record.claim(self.role, "directories", directory.path, purge=directory.purge)
        for file in self.files:
            if not os.path.lexists(file.path) and record.owner_of("files", file.path) is None:
                record.claim(self.role, "files", file.path)

    def _release(self, record: Record, paths: Iterable[str]) -> None:
        for path in paths:
            record.release(self.role, PENDING, path)


def _file(entry: Mapping[str, Any]) -> File:
    secret = entry["secret_b64"] is not None
    content = base64.b64decode(entry["secret_b64"] if secret else entry["content_b64"])
    return File(
        entry["path"],
        content,
        int(entry["mode"], 8),
        entry["owner"],
        entry["group"],
        validate=entry["validate"],
        adopt=entry["adopt"],
        secret=secret,
        serial=entry["serial"],
        series=entry["series"],
    )


def _directory(entry: Mapping[str, Any]) -> Directory:
    return Directory(
        entry["path"], int(entry["mode"], 8), entry["owner"], entry["group"], entry["purge"]
    )
