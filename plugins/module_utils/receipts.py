# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receipts: what a model file was when every byte of it was last proven, so that a look at it can be cheap.

A receipt is a file that only root can read: one line of canonical JSON and its HMAC-SHA256 (RFC 2104)
under a key that was made on this host and never leaves it. As long as nothing that the kernel keeps of
the file has changed, it is the proven one. The change time cannot be set by anybody, so that a write
shows even when the other times were put back (inode(7)).

Not proof against root: who can read the key can write receipts. A check by SHA-256 asks none.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass

from . import canonical
from .errors import AirlockError
from .files import fsync_directory, read_limited, write_atomic
from .sealing import inode_flags

DIRECTORY = "/var/lib/airlock/receipts"
MAX_AGE_S = 7 * 24 * 3600
_KEY = "key"
_KEY_BYTES = 32
_SUFFIX = ".receipt"
_LIMIT = 16 * 1024
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Identity:
    """What the kernel keeps of a file (stat(2), ioctl_iflags(2)); times in nanoseconds, size in bytes."""

    dev: int
    ino: int
    mode: int
    uid: int
    nlink: int
    size: int
    mtime_ns: int
    ctime_ns: int
    flags: int

    @classmethod
    def of(cls, descriptor: int) -> Identity:
        """Return the identity of an open file. Raises OSError."""
        now = os.fstat(descriptor)
        return cls(
            now.st_dev, now.st_ino, now.st_mode, now.st_uid, now.st_nlink, now.st_size,
            now.st_mtime_ns, now.st_ctime_ns, inode_flags(descriptor),
        )  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """When: ``boot_id`` changes with every start of the kernel, ``when`` is in seconds since 1970."""

    boot_id: str
    when: int

    @classmethod
    def now(cls) -> Moment:
        """Return this moment. Raises OSError."""
        with open(_BOOT_ID, encoding="ascii") as source:
            return cls(source.read().strip(), int(time.time()))


@dataclass(frozen=True)
class Receipt:
    """That the file at ``path`` was proven at ``moment`` to have ``sha256``, as ``manifest`` (its digest) wants.

    ``blake3`` and ``verity`` are its other digests, '' where there are none; ``level`` is that of the proof.
    """

    path: str
    manifest: str
    sha256: str
    blake3: str
    verity: str
    level: int
    identity: Identity
    moment: Moment


def stale(receipt: Receipt, seen: Identity, now: Moment) -> str:
    """Return in words why ``receipt`` no longer speaks for the file that was ``seen``, '' when it does."""
    if seen != receipt.identity:
        before, after = asdict(receipt.identity), asdict(seen)
        return f"its {', '.join(name for name in before if before[name] != after[name])} changed"
    if now.boot_id != receipt.moment.boot_id:
        return "the host was started since"
    if now.when < receipt.moment.when:
        return "the clock went back"
    if now.when - receipt.moment.when > MAX_AGE_S:
        return f"it was last proven more than {MAX_AGE_S // 86400} days ago"
    return ""


class Book:
    """The receipts of a host, in a directory that only its owner may enter."""

    def __init__(self, directory: str = DIRECTORY):
        self.directory = directory
        self._known_key = b""

    @property
    def exists(self) -> bool:
        """Say whether receipts can be kept: the directory is there, of this user and closed to others."""
        try:
            now = os.lstat(self.directory)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(now.st_mode) and _is_private(now)

    def read(self, path: str, manifest: str) -> Receipt | None:
        """Return the receipt of the file at ``path`` for ``manifest``; None when there is none to trust."""
        try:
            body, _line, mac = _read(self._place(path, manifest)).rstrip(b"\n").partition(b"\n")
            if not hmac.compare_digest(mac, self._mac(body)):
                return None
        except (AirlockError, OSError):
            return None
        # Nobody but this class can have written what bears the right MAC.
        value = json.loads(body)
        receipt = Receipt(
            **{
                **value,
                "identity": Identity(**value["identity"]),
                "moment": Moment(**value["moment"]),
            }
        )
        return receipt if (receipt.path, receipt.manifest) == (path, manifest) else None

    def write(self, receipt: Receipt) -> None:
        """Keep ``receipt``. Raises AirlockError when the key is not private, and OSError."""
        self._make_key()
        body = canonical.dumps(asdict(receipt))
        place = self._place(receipt.path, receipt.manifest)
        write_atomic(place, body + b"\n" + self._mac(body) + b"\n", mode=0o600)

    def drop(self, path: str, manifest: str) -> None:
        """Forget the receipt of a file, if there is one. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place(path, manifest))

    def keep_only(self, subjects: set[tuple[str, str]]) -> None:
        """Forget every receipt but those of ``subjects``: (path, digest of the manifest). Raises OSError."""
        wanted = {os.path.basename(self._place(*subject)) for subject in subjects}
        for name in os.listdir(self.directory):
            if name.endswith(_SUFFIX) and name not in wanted:
                os.unlink(os.path.join(self.directory, name))

    def _place(self, path: str, manifest: str) -> str:
        name = hashlib.sha256(f"{manifest} {path}".encode()).hexdigest()[:32]
        return os.path.join(self.directory, name + _SUFFIX)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key(), body, "sha256").hex().encode()

    def _key(self) -> bytes:
        if not self._known_key:
            path = os.path.join(self.directory, _KEY)
            if not _is_private(os.lstat(path)):
                raise AirlockError.refuse(
                    "others may read or change the key of the receipts",
                    expected="mode 0600 and its owner",
                    where=path,
                    fix="remove it: every model is then proven anew, under a new key",
                )
            key = read_limited(path, _KEY_BYTES)
            if len(key) != _KEY_BYTES:
                raise AirlockError.refuse(
                    "the key of the receipts is damaged",
                    where=path,
                    fix="remove it, then run again",
                )
            self._known_key = key
        return self._known_key

    def _make_key(self) -> None:
        """Make the key unless there is one; of two who make it at once, one wins."""
        path = os.path.join(self.directory, _KEY)
        if os.path.lexists(path):
            return
        fresh = f"{path}.{secrets.token_hex(6)}"
        write_atomic(fresh, secrets.token_bytes(_KEY_BYTES), mode=0o600)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            os.unlink(fresh)
        fsync_directory(self.directory)


def _read(path: str) -> bytes:
    """Return the first bytes of a file, as many as a receipt may have; fast, because a start waits for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LIMIT)
    finally:
        os.close(descriptor)


def _is_private(now: os.stat_result) -> bool:
    return now.st_uid == os.geteuid() and not stat.S_IMODE(now.st_mode) & 0o077
