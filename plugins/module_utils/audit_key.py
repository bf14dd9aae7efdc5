# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the key of the next audit record, which forgets the keys before.

Two slots of one sector each, ``magic, trail (8 bytes), seq (8, big endian), key (32), SHA-256 of all that``.
Both are overwritten in place, one after the other, so that a power cut leaves at least one whole and no
older key stays in either. Below the file system that is a request: copy-on-write and the wear levelling
of a disk may keep old blocks, to which only who reads the raw disk gets.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass

from .audit_chain import KEY_BYTES
from .errors import AirlockError

PATH = "/var/lib/airlock/audit/key"
_MAGIC = b"AIRAUD1\n"
_FIELDS = struct.Struct(f">8s8sQ{KEY_BYTES}s")
_DIGEST = hashlib.sha256().digest_size
_SLOT = 512


@dataclass(frozen=True)
class Held:
    """Which trail it is (16 hex digits), and number and key of a record that is not yet written."""

    trail: str
    seq: int
    key: bytes


def begin(path: str, held: Held, *, uid: int = -1, gid: int = -1) -> None:
    """Make the file at ``path``, mode 0600, for a new trail. Raises OSError, FileExistsError too."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchown(descriptor, uid, gid)
        save(descriptor, held)
    finally:
        os.close(descriptor)


def save(descriptor: int, held: Held) -> None:
    """Overwrite both slots of the open file; on the disk when this returns. Raises OSError."""
    fields = _FIELDS.pack(_MAGIC, bytes.fromhex(held.trail), held.seq, held.key)
    slot = (fields + hashlib.sha256(fields).digest()).ljust(_SLOT, b"\0")
    for offset in (0, _SLOT):
        os.pwrite(descriptor, slot, offset)
        os.fdatasync(descriptor)


def load(descriptor: int, where: str = PATH) -> Held:
    """Return the newer of the whole slots of the open file. Raises AirlockError without one, OSError."""
    found = [held for offset in (0, _SLOT) if (held := _slot(os.pread(descriptor, _SLOT, offset)))]
    if not found:
        raise AirlockError.refuse(
            "this is not the key of an audit trail",
            where=where,
            fix="if nobody can say why, treat the host as taken; the playbook 'site' begins a new "
            "trail once the file is moved away",
        )
    return max(found, key=lambda held: held.seq)


def _slot(data: bytes) -> Held | None:
    fields = data[: _FIELDS.size]
    digest = data[_FIELDS.size : _FIELDS.size + _DIGEST]
    if hashlib.sha256(fields).digest() != digest:
        return None
    magic, trail, seq, key = _FIELDS.unpack(fields)
    return Held(trail.hex(), seq, key) if magic == _MAGIC else None
