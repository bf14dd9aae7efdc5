# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a file that the host has already, a model of Ollama's for instance, into a place of ours.

The file itself stays as it is, and whoever owns it may go on writing to it: what is taken is a copy that
nobody else ever had open, and its digest is that of the copy. Where the file system can, the copy shares
the blocks of the original until one of them changes (ioctl_ficlone(2)) and costs no room.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import IO

from . import digests
from .artifacts import Content
from .artifacts_copy import copy_verified, wrong_digest
from .digests import Digest
from .errors import AirlockError

_FICLONE = 0x40049409
_FIX = "let its owner repair it, or take on_host out of models.yml and pull the model anew"


def adopt(
    found_at: str,
    path: str,
    content: Content,
    mode: int,
    subject: str,
    witness: Digest | None = None,
) -> None:
    """Make the new file ``path`` a copy of ``found_at`` that is ``content``.

    Messages call it ``subject``; ``witness`` is a second digest that is fed the same bytes. ``path`` is removed
    again unless it became that. Raises AirlockError, OSError.
    """
    with open_plain(found_at) as source:
        if _clone(source, path):
            _verify(path, content, found_at, mode, subject, witness)
        else:
            copy_verified(
                source, path, content,
                subject=subject, origin=found_at, mode=mode, fix=_FIX, witness=witness,
            )  # fmt: skip


@contextlib.contextmanager
def open_plain(path: str) -> Iterator[IO[bytes]]:
    """Open the regular file at ``path`` for reading; a link is not followed. Raises AirlockError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AirlockError.refuse("this is not a regular file", where=path)
        with open(descriptor, "rb", closefd=False) as handle:
            yield handle
    finally:
        os.close(descriptor)


def _clone(source: IO[bytes], path: str) -> bool:
    """Make ``path`` share the blocks of ``source``; False, and no file, where that cannot be."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.ioctl(target, _FICLONE, source.fileno())
        os.fsync(target)
        return True
    except OSError:
        os.unlink(path)
        return False
    finally:
        os.close(target)


def _verify(
    path: str, content: Content, found_at: str, mode: int, subject: str, witness: Digest | None
) -> None:
    sha256 = hashlib.sha256()
    try:
        with open_plain(path) as copy:
            digests.feed(
                copy.fileno(), [sha256, witness] if witness else [sha256], keep_cache=False
            )
        if sha256.hexdigest() != content.sha256:
            raise wrong_digest(subject, found_at, content.sha256, sha256.hexdigest(), _FIX)
        os.chmod(path, mode)
    except BaseException:
        os.unlink(path)
        raise
