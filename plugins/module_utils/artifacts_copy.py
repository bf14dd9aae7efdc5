# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on their way to a file: a file gets its name only after its whole content proved to be the approved one."""

from __future__ import annotations

import contextlib
import errno
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
    subject: str,
    source: str,
    expected: str,
    found: str,
    fix: str = _SUSPECT,
    kind: str = "sha256",
) -> AirlockError:
    """Build the refusal of a content that is not the approved one."""
    return AirlockError.refuse(
        f"the content from {source} is not the one that the catalog approves",
        expected=f"{kind} {expected}",
        found=f"{kind} {found}",
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
) -> Content:
    """Stream ``source`` into the new file ``path`` while hashing it; return what it became.

    ``witness`` is a second digest that is fed the same bytes.
    ``path`` is removed again unless it became ``content``. Raises AirlockError, OSError.
    """
    try:
        with open(path, "xb", opener=_opener) as target:
            found = _append(source, target, content, subject, origin, fix, witness)
            os.fchmod(target.fileno(), mode)
            return found
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


OpenAt = Callable[[int], tuple[IO[bytes], int]]
"""Opens a download at a byte offset; returns the stream and the offset that the server granted."""


def download(open_at: OpenAt, path: str, content: Content, *, subject: str, origin: str) -> Content:
    """Bring a download to ``path``, going on where an interrupted one stopped; return what it became.

    What was transferred stays for the next time only when the transfer broke off; a content that
    is not the approved one is removed, and so is one that filled the disk. Raises AirlockError, OSError.
    """
    start = part_size(path)
    complete = content.size and start == content.size
    source, granted = (io.BytesIO(), start) if complete else open_at(start)
    with source, open(path, "a+b", opener=_opener) as target:
        target.truncate(granted if granted == start else 0)
        target.seek(0)
        try:
            return _append(source, target, content, subject, origin)
        except Interrupted:
            raise
        except (AirlockError, OSError) as exc:
            if isinstance(exc, AirlockError) or exc.errno == errno.ENOSPC:
                os.unlink(path)
            raise


def part_size(path: str) -> int:
    """Return how many bytes of a download are at ``path``, 0 when there is none."""
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


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
) -> Content:
    sha256: Digest = hashlib.sha256()
    hashers = [(sha256, "sha256", content.sha256)]
    if content.git_sha1:
        git = hashlib.sha1(b"blob %d\0" % content.size, usedforsecurity=False)
        hashers.append((git, "git SHA-1", content.git_sha1))
    if witness:
        hashers.append((witness, "", ""))
    done = 0
    while target.readable() and (chunk := target.read(_CHUNK)):
        for hasher, _kind, _wanted in hashers:
            hasher.update(chunk)
        done += len(chunk)
    limit = content.size or MAX_SIZE
    while done <= limit and (chunk := source.read(_CHUNK)):
        for hasher, _kind, _wanted in hashers:
            hasher.update(chunk)
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
    for hasher, kind, wanted in hashers:
        if wanted and hasher.hexdigest() != wanted:
            raise wrong_digest(subject, origin, wanted, hasher.hexdigest(), fix, kind)
    target.flush()
    os.fsync(target.fileno())
    return Content(sha256.hexdigest(), done)


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
    if not content.sha256:
        return None
    path = os.path.join(cache, content.object_name)
    try:
        return path if os.lstat(path).st_size == content.size else None
    except FileNotFoundError:
        return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
