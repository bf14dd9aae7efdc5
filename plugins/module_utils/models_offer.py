# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source offers for a model, as its owner is shown it and as the fetch takes it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import canonical
from .errors import AirlockError

MAX_METADATA = 16 * 1024**2
_FIX = "try again; if it stays so, the server at that address is not what the source says"


@dataclass(frozen=True)
class OfferedFile:
    """One file under its name in the model; ``source`` as the catalog has it.

    ``sha256`` '' and ``size`` 0 are not known before the fetch; ``git_sha1`` pins what has no
    SHA-256 at its source.
    """

    path: str
    source: Mapping[str, Any]
    sha256: str = ""
    size: int = 0
    git_sha1: str = ""

    def document(self) -> dict[str, Any]:
        """Return what is known as a value for canonical JSON."""
        known = {"sha256": self.sha256, "size": self.size, "git_sha1": self.git_sha1}
        return {
            "path": self.path,
            "source": dict(self.source),
            **{key: value for key, value in known.items() if value},
        }


@dataclass(frozen=True)
class Offer:
    """The files of a model, where they come from in words, and the licence that the publisher gives."""

    origin: str
    files: tuple[OfferedFile, ...]
    licence: str = ""

    @property
    def size(self) -> int:
        """Return the size of all files together in bytes, 0 when that of one is not known."""
        sizes = [file.size for file in self.files]
        return sum(sizes) if all(sizes) else 0

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all that is offered, 64 hex digits."""
        return canonical.digest([file.document() for file in self.files])


def read_document(answer: Any, where: str) -> dict[str, Any]:
    """Return the JSON object that a server answered with. Raises AirlockError, OSError."""
    return parse_document(read_bytes(answer, where), where)


def read_bytes(answer: Any, where: str) -> bytes:
    """Return the answer of a server, at most 16 MiB. Raises AirlockError, OSError."""
    with answer:
        data: bytes = answer.read(MAX_METADATA + 1)
    if len(data) > MAX_METADATA:
        raise AirlockError.refuse(
            "the answer is too large", expected=f"at most {MAX_METADATA} bytes", where=where
        )
    return data


def parse_document(data: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object of a source. Raises AirlockError."""
    value = canonical.parse(data, where=where, max_bytes=MAX_METADATA)
    if not isinstance(value, dict):
        raise AirlockError.refuse("the answer is no JSON object", where=where, fix=_FIX)
    return value


def unexpected(what: str, where: str) -> AirlockError:
    """Build the refusal of an answer that lacks something."""
    return AirlockError.refuse(f"the answer has no proper {what}", where=where, fix=_FIX)


def plain_size(path: str) -> int:
    """Return the size of the regular file at ``path`` in bytes; a link is refused. Raises AirlockError."""
    try:
        now = os.lstat(path)
    except FileNotFoundError as exc:
        raise AirlockError.refuse("the file is not there", where=path) from exc
    if not stat.S_ISREG(now.st_mode) or not now.st_size:
        raise AirlockError.refuse("this is not a regular file with a content", where=path)
    return now.st_size
