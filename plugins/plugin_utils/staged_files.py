# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the authority in one run: read as they will be, written together at the end of it."""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited, write_atomic

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

_LIMIT = 4 * 1024 * 1024


@dataclass(kw_only=True)
class StagedFiles:
    """What a run is about to write, and why."""

    reasons: list[str] = field(default_factory=list)
    _changes: dict[Path, tuple[bytes, int] | None] = field(default_factory=dict)

    def read(self, path: Path) -> bytes | None:
        """Return a file as it is after this run, None where there is none."""
        if path in self._changes:
            change = self._changes[path]
            return change[0] if change else None
        try:
            return read_limited(str(path), _LIMIT)
        except FileNotFoundError:
            return None

    def certificate(self, path: Path) -> x509.Certificate | None:
        """Return the first certificate in a file, None where there is no file. Raises AirlockError."""
        data = self.read(path)
        if data is None:
            return None
        try:
            return x509.load_pem_x509_certificate(data)
        except ValueError as exc:
            raise AirlockError.refuse(
                "this is no certificate", expected="PEM", where=str(path)
            ) from exc

    def key(self, path: Path, passphrase: str = "") -> ec.EllipticCurvePrivateKey:
        """Return a private key of the authority, which nobody else may be able to read. Raises AirlockError."""
        data = self.read(path)
        if data is None:
            raise AirlockError.refuse(
                "a key of the authority is missing",
                where=str(path),
                fix="restore it from a backup of the site directory",
            )
        if path not in self._changes and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AirlockError.refuse(
                "others can read a key of the authority",
                expected="mode 0600",
                where=str(path),
                fix="chmod 0600 it, and think about who has it now",
            )
        try:
            key = serialization.load_pem_private_key(data, passphrase.encode() or None)
        except (TypeError, ValueError) as exc:
            raise AirlockError.refuse(
                "a key of the authority cannot be read",
                expected="it under airlock_ca_passphrase" if passphrase else "an unencrypted key",
                where=str(path),
                fix="correct the passphrase, or restore the file",
            ) from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AirlockError.refuse("this is no key of ours", expected="ECDSA", where=str(path))
        return key

    def write(self, path: Path, data: bytes, reason: str = "", *, mode: int = 0o644) -> None:
        """Have a file written at the end of the run."""
        self._changes[path] = (data, mode)
        if reason:
            self.reasons.append(reason)

    def remove(self, path: Path) -> None:
        """Have a file removed at the end of the run."""
        if self.read(path) is not None:
            self._changes[path] = None

    def write_all(self, *, first: Path) -> None:
        """Write and remove what there is to, ``first`` before all others. Raises OSError."""
        for path, change in sorted(self._changes.items(), key=lambda item: item[0] != first):
            if change is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(str(path), change[0], mode=change[1])


def pem(key: ec.EllipticCurvePrivateKey, passphrase: str = "") -> bytes:
    """Return a private key in PEM (PKCS #8), encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
