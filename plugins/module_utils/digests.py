# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashing large files: SHA-256 by hashlib, BLAKE3 by b3sum(1), both in one pass, the page cache left alone.

SHA-256 is what a file is known by. BLAKE3 is many times as fast on processors without SHA instructions
and serves to look again; hosts have it as the Debian package b3sum, and do without it where they have not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import IO, Protocol, cast

_CHUNK = 1024 * 1024
_PROGRAM = "b3sum"
_BEHIND_SECONDS = 0.02


class Digest(Protocol):
    """What hashlib returns."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Blake3:
    """BLAKE3 of what ``update`` is fed, computed by another process beside this one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [_PROGRAM, "--no-names"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._pipe: IO[bytes] = cast("IO[bytes]", self._process.stdin)
        # The largest that an unprivileged process may have by default (pipe(7)).
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _CHUNK)

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed ``data``. Raises OSError when the other process is gone."""
        view = memoryview(data)
        while view:
            view = view[self._pipe.write(view) :]

    def hexdigest(self) -> str:
        """Return the digest, 64 hex digits; nothing can be fed after it. Raises OSError."""
        output, _errors = self._process.communicate()
        return _word(output, self._process.returncode)

    def close(self) -> None:
        """End the other process, whether or not it has finished."""
        self._process.kill()
        self._process.communicate()


def has_blake3() -> bool:
    """Say whether this host can compute BLAKE3."""
    return shutil.which(_PROGRAM) is not None


@contextlib.contextmanager
def blake3() -> Iterator[Blake3 | None]:
    """Give a BLAKE3 to feed, or None where the host has none."""
    if not has_blake3():
        yield None
        return
    digest = Blake3()
    try:
        yield digest
    finally:
        digest.close()


def both(descriptor: int, *, keep_cache: bool) -> tuple[str, str]:
    """Return SHA-256 and BLAKE3 of an open file, 64 hex digits each, reading it once from its start.

    BLAKE3 is '' where the host has none. Without ``keep_cache`` what was read is given back to the
    kernel (posix_fadvise(2)), so that a look at a large model does not evict a running one. Raises OSError.
    """
    sha256 = hashlib.sha256()
    with blake3() as second:
        digests: list[Digest] = [sha256, second] if second else [sha256]
        feed(descriptor, digests, keep_cache=keep_cache)
        return sha256.hexdigest(), second.hexdigest() if second else ""


def blake3_of(descriptor: int, *, keep_cache: bool) -> str:
    """Return the BLAKE3 of an open file, 64 hex digits. Raises OSError, also where the host has none.

    With ``keep_cache`` on all cores through a mapping; without, on one, dropping what was read behind it.
    """
    own = f"/proc/self/fd/{descriptor}"
    if keep_cache:
        done = subprocess.run(
            [_PROGRAM, "--no-names", own],
            pass_fds=(descriptor,), stdout=subprocess.PIPE, check=False,
        )  # fmt: skip
        return _word(done.stdout, done.returncode)
    # A position of its own, which b3sum moves along and this process can ask for.
    with open(own, "rb", buffering=0) as source:
        command = [_PROGRAM, "--no-names"]
        with subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE) as process:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, _errors = process.communicate(timeout=_BEHIND_SECONDS)
                    break
                _forget(descriptor, os.lseek(source.fileno(), 0, os.SEEK_CUR))
        _forget(descriptor, 0)
    return _word(output, process.returncode)


def feed(descriptor: int, digests: list[Digest], *, keep_cache: bool) -> None:
    """Give each of ``digests`` all bytes of an open file, reading it once. Raises OSError."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    done = 0
    while count := os.preadv(descriptor, [buffer], done):
        for digest in digests:
            digest.update(view[:count])
        done += count
        if not keep_cache:
            os.posix_fadvise(descriptor, done - count, count, os.POSIX_FADV_DONTNEED)


def _forget(descriptor: int, until: int) -> None:
    """Drop what is cached of the file before byte ``until``, 0 for all of it."""
    os.posix_fadvise(descriptor, 0, until, os.POSIX_FADV_DONTNEED)


def _word(output: bytes, status: int) -> str:
    word = output.decode("ascii", "replace").strip()
    if status != 0 or len(word) != 64:
        raise OSError(f"b3sum ended with status {status} and said {word!r}")
    return word
