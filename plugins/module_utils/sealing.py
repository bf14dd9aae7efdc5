# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel offers against a change of a file: the immutable flag, fs-verity, read leases.

Each is used where the file system has it; where it has not, the functions say so and nothing fails.
Numbers are those of linux/fs.h and linux/fsverity.h on x86_64, arm64 and riscv64.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterator

from .errors import AirlockError

_GETFLAGS = 0x80086601
_SETFLAGS = 0x40086602
_IMMUTABLE = 0x10
_ENABLE_VERITY = 0x40806685
_MEASURE_VERITY = 0xC0046686
_SHA256 = 1
_BLOCK = 4096
_UNSUPPORTED = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Busy(AirlockError):
    """Somebody may write to the file right now."""


def inode_flags(descriptor: int) -> int:
    """Return the inode flags of ioctl_iflags(2), 0 where the file system has none."""
    try:
        (found,) = struct.unpack("I4x", fcntl.ioctl(descriptor, _GETFLAGS, bytes(8)))
    except OSError:
        return 0
    return int(found)


def is_immutable(flags: int) -> bool:
    """Say whether inode flags hold the immutable one, which root itself has to clear before a change."""
    return bool(flags & _IMMUTABLE)


def make_immutable(descriptor: int) -> bool:
    """Set the immutable flag (chattr(1), +i); return whether the file system keeps it."""
    wanted = inode_flags(descriptor) | _IMMUTABLE
    try:
        fcntl.ioctl(descriptor, _SETFLAGS, struct.pack("I4x", wanted))
    except OSError as exc:
        # EPERM: a container without CAP_LINUX_IMMUTABLE.
        if exc.errno in (*_UNSUPPORTED, errno.EPERM):
            return False
        raise
    return is_immutable(inode_flags(descriptor))


def unseal(path: str) -> None:
    """Clear the immutable flag of the file at ``path``; a link is not followed. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return
        raise
    try:
        flags = inode_flags(descriptor)
        if is_immutable(flags):
            fcntl.ioctl(descriptor, _SETFLAGS, struct.pack("I4x", flags & ~_IMMUTABLE))
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Remove the file at ``path``, sealed or not. Raises OSError."""
    try:
        os.unlink(path)
    except PermissionError:
        unseal(path)
        os.unlink(path)


def enable_verity(descriptor: int) -> bool:
    """Let the kernel check every page of the file that is ever read against a hash tree over it.

    The file must be open for nobody's writing. Returns whether the file system does it (fsverity,
    FS_IOC_ENABLE_VERITY with SHA-256 and blocks of 4096 bytes). Raises OSError.
    """
    argument = struct.pack("=IIIIQII88x", 1, _SHA256, _BLOCK, 0, 0, 0, 0)
    try:
        fcntl.ioctl(descriptor, _ENABLE_VERITY, argument)
    except OSError as exc:
        if exc.errno == errno.EEXIST:
            return True
        if exc.errno in (*_UNSUPPORTED, errno.EPERM, errno.EACCES):
            return False
        raise
    return True


def measure_verity(descriptor: int) -> str:
    """Return the digest of the file that the kernel enforces, 64 hex digits, '' when it enforces none.

    FS_IOC_MEASURE_VERITY: constant time, no byte of the file is read.
    """
    buffer = bytearray(struct.pack("=HH64x", 0, 64))
    try:
        fcntl.ioctl(descriptor, _MEASURE_VERITY, buffer, True)
    except OSError:
        return ""
    algorithm, size = struct.unpack_from("=HH", buffer)
    return bytes(buffer[4 : 4 + size]).hex() if (algorithm, size) == (_SHA256, 32) else ""


@contextlib.contextmanager
def read_lease(descriptor: int) -> Iterator[bool]:
    """Hold a read lease (fcntl(2), F_SETLEASE): while it lasts, nobody has the file open for writing.

    A shared writable mapping counts as open. Yields False where the file system knows no leases.
    ``descriptor`` must be open for reading only. Raises Busy when somebody has it open for writing,
    and at the end when somebody tried to open it so meanwhile.
    """
    held = True
    # The default signal of a lease that is broken, SIGIO, would kill the process.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as exc:
        if exc.errno == errno.EAGAIN:
            raise _busy(descriptor) from exc
        if exc.errno not in (*_UNSUPPORTED, errno.EACCES):
            raise
        held = False
    try:
        yield held
        if held and fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            raise _busy(descriptor)
    finally:
        if held:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _busy(descriptor: int) -> Busy:
    return Busy(
        f"{os.readlink(f'/proc/self/fd/{descriptor}')}: somebody has the file open for writing: expected nobody; "
        "find the process with 'fuser -v' and end it."
    )
