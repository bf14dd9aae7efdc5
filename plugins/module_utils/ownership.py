# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ownership record: what this collection brought to a host, and for which role.

``absent`` removes what stands here and nothing else, the observation lists it, and the
uninstall test compares against it. Document, canonical JSON::

    {"version": 1, "roles": {"egress": {"files": {"/etc/airlock/egress.nft": {...}}, ...}}}

One kind is no property: ``pending`` has the paths that were changed, or were about to be, and are
not known to be in force.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from typing import Any

from . import canonical
from .errors import AirlockError
from .files import alone, read_limited, write_atomic

PATH = "/var/lib/airlock/owned.json"
PENDING = "pending"
KINDS = (
    "files",
    "directories",
    "links",
    "trees",
    "units",
    "users",
    "groups",
    "packages",
    PENDING,
)
_VERSION = 1
_MAX_BYTES = 16 * 1024 * 1024


class Record:
    """Claims by role and kind; a claim maps a name or path to a dict of facts about it."""

    def __init__(self, roles: dict[str, dict[str, dict[str, dict[str, Any]]]] | None = None):
        self._roles = roles or {}

    @classmethod
    def load(cls, path: str = PATH) -> Record:
        """Read the record; one that does not exist yet is empty. Raises AirlockError."""
        try:
            data = read_limited(path, _MAX_BYTES)
        except FileNotFoundError:
            return cls()
        document = canonical.loads(data, where=path)
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise AirlockError.refuse(
                "the ownership record has another format",
                expected=f"version {_VERSION}",
                where=path,
                fix="use the version of the collection that wrote it",
            )
        return cls(document["roles"])

    def save(self, path: str = PATH) -> None:
        """Write the record, or remove it when nothing is claimed any more. Raises OSError.

        Its directory comes and goes with it, where nothing else lies inside.
        """
        directory = os.path.dirname(path)
        if self._roles:
            os.makedirs(directory, mode=0o755, exist_ok=True)
            write_atomic(path, self.to_bytes())
        elif os.path.exists(path):
            os.unlink(path)
            if not os.listdir(directory):
                os.rmdir(directory)

    def to_bytes(self) -> bytes:
        """Return the document as canonical bytes, so that two records can be compared."""
        return canonical.dumps({"version": _VERSION, "roles": self._roles}) + b"\n"

    def claims(self, role: str, kind: str) -> dict[str, dict[str, Any]]:
        """Return a copy of what ``role`` claims of ``kind``: name or path to facts."""
        return dict(self._roles.get(role, {}).get(_known(kind), {}))

    def owner_of(self, kind: str, name: str) -> str | None:
        """Return the role that claims ``name``, or None when it is not ours."""
        _known(kind)
        return next(
            (role for role, kinds in self._roles.items() if name in kinds.get(kind, {})), None
        )

    def claim(self, role: str, kind: str, name: str, **facts: Any) -> None:
        """Enter or replace a claim; facts are what ``absent`` and the observation need."""
        self._roles.setdefault(role, {}).setdefault(_known(kind), {})[name] = facts

    def release(self, role: str, kind: str, name: str) -> None:
        """Drop a claim; dropping one that is not there is no error."""
        kinds = self._roles.get(role, {})
        kinds.get(_known(kind), {}).pop(name, None)
        if not kinds.get(kind):
            kinds.pop(kind, None)
        if not kinds:
            self._roles.pop(role, None)

    def entry(self, role: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Return a copy of everything that ``role`` claims: kind to name to facts."""
        return copy.deepcopy(self._roles.get(role, {}))

    def put_back(self, role: str, entry: dict[str, dict[str, dict[str, Any]]]) -> None:
        """Make ``entry``, which `entry` has returned before, everything that ``role`` claims."""
        self._roles.pop(role, None)
        if entry:
            self._roles[role] = copy.deepcopy(entry)

    def all_claims(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return every claim of ``kind``, each with its ``role`` among the facts."""
        _known(kind)
        return {
            name: {**facts, "role": role}
            for role, kinds in self._roles.items()
            for name, facts in kinds.get(kind, {}).items()
        }


@contextlib.contextmanager
def exclusive(path: str = PATH) -> Iterator[None]:
    """Let one process at a time read the record and write it again: a change may undo itself at any moment.

    Raises OSError.
    """
    directory = os.path.dirname(path)
    made = not os.path.isdir(directory)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    try:
        with alone(directory):
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # there is something in it now
                os.rmdir(directory)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of claim")
    return kind
