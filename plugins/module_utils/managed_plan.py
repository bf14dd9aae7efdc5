# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task wants of a role's files: from the parameters of a module to a plan that is carried out."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .commands import Run
from .managed import Manager
from .managed_specs import Directory, File, Link, Outcome
from .ownership import PATH, Record, exclusive

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
}
"""The parameters of `managed_files`, as AnsibleModule takes them."""


@dataclass(frozen=True)
class Plan:
    """What shall be there (``state`` present), or that nothing of the role shall (absent)."""

    role: str
    state: str = "present"
    directories: Sequence[Directory] = ()
    files: Sequence[File] = ()
    links: Sequence[Link] = ()
    units: Sequence[str] = field(default=())
    prune: bool = False

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
        )

    def carry_out(self, run: Run, *, check: bool = False, record_path: str = PATH) -> Outcome:
        """Bring the host there, or predict it. Raises AirlockError and OSError.

        What was placed before a failure is ours all the same, and stands in the record.
        """
        if check:
            return self._carry_out(Manager(self.role, Record.load(record_path), run, check=True))
        with exclusive(record_path):
            before = self._announce(record_path) if self.state == "present" else b""
            record = Record.load(record_path)
            try:
                return self._carry_out(Manager(self.role, record, run))
            finally:
                if record.to_bytes() != before:
                    record.save(record_path)

    def _carry_out(self, manager: Manager) -> Outcome:
        if self.state == "absent":
            return manager.absent()
        return manager.present(
            self.directories, self.files, self.links, self.units, prune=self.prune
        )

    def _announce(self, record_path: str) -> bytes:
        """Claim what is about to be made; return the record as it is stored now.

        Whenever the power goes, nothing of ours is on the host without an owner.
        """
        record = Record.load(record_path)
        before = record.to_bytes()
        for directory in self.directories:
            if not os.path.lexists(directory.path):
                record.claim(self.role, "directories", directory.path, purge=directory.purge)
        for file in self.files:
            if not os.path.lexists(file.path) and record.owner_of("files", file.path) is None:
                record.claim(self.role, "files", file.path)
        if record.to_bytes() != before:
            record.save(record_path)
        return record.to_bytes()


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
    )


def _directory(entry: Mapping[str, Any]) -> Directory:
    return Directory(
        entry["path"], int(entry["mode"], 8), entry["owner"], entry["group"], entry["purge"]
    )
