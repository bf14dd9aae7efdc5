# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading, hashing and replacing files safely."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator

from .errors import AirlockError

_CHUNK = 1024 * 1024


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data``, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str) -> str:
    """Return the SHA-256 of the regular file at ``path``, 64 hex digits.

    Symbolic links are not followed. Raises OSError. For large files see ``digests``.
    """
    hasher = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        buffer = bytearray(_CHUNK)
        view = memoryview(buffer)
        while count := handle.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()


def read_limited(path: str, limit: int) -> bytes:
    """Return the content of the regular file at ``path``, at most ``limit`` bytes.

    Raises AirlockError when it is not a regular file or larger, OSError when it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            raise AirlockError.refuse("this is not a regular file", where=path)
        data = handle.read(limit + 1)
    if len(data) > limit:
        raise AirlockError.refuse(
            "the file is too large", expected=f"at most {limit} bytes", where=path
        )
    return data


def write_atomic(
    path: str,
    data: bytes,
    *,
    mode: int = 0o644,
    uid: int = -1,
    gid: int = -1,
    check: Callable[[str], None] | None = None,
) -> None:
    """Replace ``path`` by ``data`` so that a reader sees the old or the new file, never a part.

    The temporary file is made beside the target with the final mode and owner (-1 keeps the
    caller's), ``check`` may refuse it by raising, then fsync and rename(2). Raises OSError and
    whatever ``check`` raises; the target is untouched and the temporary file gone in that case.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as handle:
            handle.write(data)
            if uid != -1 or gid != -1:
                os.fchown(handle.fileno(), uid, gid)
            os.fchmod(handle.fileno(), mode)
            handle.flush()
            os.fsync(handle.fileno())
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(directory)


@contextlib.contextmanager
def alone(directory: str) -> Iterator[None]:
    """Let one process at a time into the block, for each directory (flock(2)). Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def fsync_directory(path: str) -> None:
    """Make renames inside the directory at ``path`` survive a power cut (fsync(2))."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
