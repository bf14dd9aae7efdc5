# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role may own on a host, in values: directories, files, links, and how a change is told."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass, field
from typing import Any

from .files import sha256_bytes


@dataclass(frozen=True)
class Directory:
    """A directory; ``purge`` lets ``absent`` remove what services left in it."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    purge: bool = False


@dataclass(frozen=True)
class File:
    """A regular file with its whole content; ``validate`` is a command with ``%s`` for the file.

    ``serial`` is the number of this content, and ``series`` what is numbered: of the same series none is placed that
    has a lower number than the one before it.
    """

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    validate: str = ""
    adopt: bool = False
    secret: bool = False
    serial: int | None = None
    series: str = ""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


@dataclass
class Outcome:
    """What changed (paths), why (sentences), how it looks (diffs) and whether systemd reloaded.

    ``pending`` are those of the paths that an earlier run changed, and not this one.
    """

    changed_paths: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    diffs: list[dict[str, str]] = field(default_factory=list)
    daemon_reload: bool = False

    def note(self, path: str, reason: str) -> None:
        """Enter one change."""
        if path not in self.changed_paths:
            self.changed_paths.append(path)
        self.reasons.append(f"{path}: {reason}")


def accounts(content: bytes) -> list[tuple[str, str]]:
    """Return the kinds and names that a sysusers.d(5) file makes; a user brings its group."""
    accounts: list[tuple[str, str]] = []
    for line in content.decode("utf-8").splitlines():
        words = line.split()
        if words and words[0] in ("u", "u!"):
            accounts += [("users", words[1]), ("groups", words[1])]
        elif words and words[0] == "g":
            accounts.append(("groups", words[1]))
    return accounts


def exists(kind: str, name: str) -> bool:
    try:
        pwd.getpwnam(name) if kind == "users" else grp.getgrnam(name)
    except KeyError:
        return False
    return True


def facts_of(entry: File, known: dict[str, Any]) -> dict[str, Any]:
    # The digest of a secret would let a reader of the record test guesses.
    kept = {key: known[key] for key in ("displaced",) if key in known}
    if entry.serial is not None:
        kept |= {"serial": entry.serial, "series": entry.series}
    return kept if entry.secret else {**kept, "sha256": sha256_bytes(entry.content)}


def why(current: bytes | None, facts: dict[str, Any]) -> str:
    if current is None:
        return "the file is missing"
    if "sha256" in facts and sha256_bytes(current) != facts["sha256"]:
        return "the file was changed by hand since this collection wrote it"
    return "the content differs"


def diff(entry: File, current: bytes | None) -> dict[str, str]:
    if entry.secret:
        before, after = ("" if current is None else "(secret)\n"), "(a new secret)\n"
    else:
        before, after = _text(current or b""), _text(entry.content)
    return {
        "before_header": entry.path,
        "after_header": entry.path,
        "before": before,
        "after": after,
    }


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return f"(binary, sha256 {sha256_bytes(data)})\n"
