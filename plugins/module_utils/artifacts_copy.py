# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on their way to a file: a file gets its name only after its whole content proved to be the approved one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from .artifacts import MAX_SIZE, Content
from .digests import Digest
from .errors import AirlockError
from .files import fsync_directory

_CHUNK = 1024 * 1024
_SUSPECT = "find out why it changed before correcting the catalog; nothing was kept"


def wrong_digest(
    subject: str, source: str, expected: str, found: str, fix: str = _SUSPECT
) -> AirlockError:
    """Build the refusal of a content that is not the approved one."""
    return AirlockError.refuse(
        f"the content from {source} is not the one that the catalog approves",
        expected=f"sha256 {expected}",
        found=f"sha256 {found}",
        where=subject,
        fix=fix,
    )


def copy_verified(
    source: IO[bytes],
    path: str,
    content: Content,
    *,
    subject: str,
    origin: str,
    mode: int = 0o600,
    fix: str = _SUSPECT,
    witness: Digest | None = None,
) -> None:
    """Stream ``source`` into the new file ``path`` while hashing it.

    ``witness`` is a second digest that is fed the same bytes.
    ``path`` is removed again unless it became ``content``. Raises AirlockError, OSError.
    """
    try:
        with open(path, "xb", opener=_opener) as target:
            _append(source, target, content, subject, origin, fix, witness)
            os.fchmod(target.fileno(), mode)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


OpenAt = Callable[[int], tuple[IO[bytes], int]]
"""Opens a download at a byte offset; returns the stream and the offset that the server granted."""


def download(open_at: OpenAt, path: str, content: Content, *, subject: str, origin: str) -> None:
    """Bring a download to ``path``, going on where an interrupted one stopped.

    What was transferred stays for the next time only when the transfer broke off; a content that
    is not the approved one is removed. Raises AirlockError, OSError.
    """
    start = os.lstat(path).st_size if os.path.lexists(path) else 0
    source, granted = open_at(start) if start != content.size else (io.BytesIO(), start)
    with source, open(path, "a+b", opener=_opener) as target:
        target.truncate(granted if granted == start else 0)
        target.seek(0)
        try:
            _append(source, target, content, subject, origin)
        except Interrupted:
            raise
        except AirlockError:
            os.unlink(path)
            raise


class Interrupted(AirlockError):
    """A transfer that ended before the expected size; it may go on later."""


def _append(
    source: IO[bytes],
    target: IO[bytes],
    content: Content,
    subject: str,
    origin: str,
    fix: str = _SUSPECT,
    witness: Digest | None = None,
) -> None:
    hasher: Digest = hashlib.sha256()
    done = 0
    while target.readable() and (chunk := target.read(_CHUNK)):
        hasher.update(chunk)
        done += len(chunk)
    limit = content.size or MAX_SIZE
    while done <= limit and (chunk := source.read(_CHUNK)):
        hasher.update(chunk)
        if witness:
            witness.update(chunk)
        target.write(chunk)
        done += len(chunk)
    if content.size and done < content.size:
        raise Interrupted.refuse(
            f"the content from {origin} ended early",
            expected=f"{content.size} bytes",
            found=f"{done} bytes",
            where=subject,
            fix="run again; if it stays so, the size in the catalog is wrong",
        )
    if done > limit:
        raise AirlockError.refuse(
            f"the content from {origin} is larger than the catalog says",
            expected=f"{limit} bytes",
            where=subject,
            fix=fix,
        )
    if hasher.hexdigest() != content.sha256:
        raise wrong_digest(subject, origin, content.sha256, hasher.hexdigest(), fix)
    target.flush()
    os.fsync(target.fileno())


@contextlib.contextmanager
def open_member(archive: str, member: str, subject: str) -> Iterator[IO[bytes]]:
    """Open one file of the zip ``archive`` for streaming; nothing is imported or run.

    Raises AirlockError when it is not a zip archive or has no such member, or has it twice.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            if names.count(member) != 1:
                raise AirlockError.refuse(
                    "the archive does not hold the member once",
                    expected=member,
                    found=f"{names.count(member)} of that name",
                    where=subject,
                )
            with opened.open(member) as stream:
                yield stream
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise AirlockError.refuse(f"the archive is damaged ({exc})", where=subject) from exc


def publish(part: str, cache: str, content: Content) -> str:
    """Move the verified file ``part`` to its place in ``cache``; return its path. Raises OSError."""
    path = os.path.join(cache, content.object_name)
    os.replace(part, path)
    fsync_directory(cache)
    return path


def cached(cache: str, content: Content) -> str | None:
    """Return the path of ``content`` in ``cache`` when a file of that name and size is there.

    Its bytes are not read: they were verified on the way in, and the host verifies them again.
    """
    path = os.path.join(cache, content.object_name)
    try:
        return path if os.lstat(path).st_size == content.size else None
    except FileNotFoundError:
        return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
