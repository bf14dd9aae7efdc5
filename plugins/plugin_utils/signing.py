# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's own signatures: documents of ours, signed with Ed25519 (RFC 8032) by a key of the controller.

A signature is a DSSE envelope around an in-toto statement with one subject: the name of the document
and the SHA-256 of its canonical JSON. It lies beside the document.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..module_utils import canonical, ledger
from ..module_utils.errors import AirlockError
from ..module_utils.files import alone, read_limited, write_atomic
from . import dsse
from .foreign import reading
from .witness import record

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

KEY_FILE = "signing.key"
MADE = "key-made"
"""What the ledger calls the making of a key."""
PREDICATE_TYPE = "urn:homelab.airlock:document:v1"
_MAX_KEY = 16 * 1024
_BACKUP = "restore the file from a backup of the site directory"


def sign(document: Mapping[str, Any], key: Ed25519PrivateKey, *, name: str) -> dict[str, Any]:
    """Return the envelope for ``document``, a value for JSON; ``name`` says which document it is."""
    payload = dsse.wrap(
        {
            "_type": dsse.STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": canonical.digest(document)}}],
            "predicateType": PREDICATE_TYPE,
        }
    )
    signature = key.sign(dsse.Envelope(payload, b"").signed)
    return dsse.document(dsse.Envelope(payload, signature), key_id(key.public_key()))


def verify(
    document: Mapping[str, Any], envelope: Any, key: Ed25519PublicKey, *, name: str, where: str
) -> None:
    """Check that ``envelope`` is the signature of exactly this document under this name by this key.

    Raises AirlockError.
    """
    parsed = dsse.parse(envelope, where)
    try:
        key.verify(parsed.signature, parsed.signed)
    except InvalidSignature as exc:
        raise AirlockError.refuse(
            "the signature was not made by the signing key of this site",
            expected=f"one by key {key_id(key)[:16]}",
            where=where,
            fix=_BACKUP,
        ) from exc
    subject, digest, _predicate = dsse.statement(parsed, PREDICATE_TYPE, where)
    found = canonical.digest(document)
    if (subject, digest) != (name, found):
        raise AirlockError.refuse(
            f"{name} is not what was signed",
            expected=f"{subject} with sha256 {digest}",
            found=f"sha256 {found}",
            where=where,
            fix=f"it was edited, damaged or replaced: {_BACKUP}",
        )


def key_id(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of the raw public key, 64 hex digits."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def fresh() -> Ed25519PrivateKey:
    """Return a key that nobody has had before."""
    return Ed25519PrivateKey.generate()


def load(directory: Path, passphrase: str = "") -> Ed25519PrivateKey:
    """Return the signing key of the site, which something was signed with. Raises AirlockError, OSError."""
    key = _load(directory / KEY_FILE, passphrase)[0]
    if key is None:
        raise AirlockError.refuse(
            "the signing key of this site is gone",
            where=str(directory / KEY_FILE),
            fix="restore state/ from a backup of the site directory",
        )
    return key


def load_or_make(
    directory: Path, passphrase: str = "", *, check: bool = False
) -> Ed25519PrivateKey:
    """Return the signing key of the site, made on first use as ``signing.key``, mode 0600, PKCS #8.

    It is in the ledger, in the same ``directory``, before it is there. With a passphrase it is encrypted;
    one that lies there in the clear is encrypted then. ``check`` writes nothing, and returns a key that is
    forgotten where there is none. Raises AirlockError, OSError.
    """
    if check:
        return _load(directory / KEY_FILE, passphrase)[0] or fresh()
    directory.mkdir(mode=0o755, exist_ok=True)
    with alone(str(directory.parent)):  # the ledger takes its own turn on the directory itself
        return _keep(
            directory / KEY_FILE,
            passphrase,
            lambda key: record(
                directory, [ledger.Event(MADE, KEY_FILE, {"key": key_id(key.public_key())})]
            ),
        )


def load_or_make_at(path: Path, passphrase: str = "") -> Ed25519PrivateKey:
    """As ``load_or_make`` for another key, at ``path``, that no ledger knows. Raises AirlockError, OSError."""
    with alone(str(path.parent)):
        return _keep(path, passphrase, lambda _key: None)


def _keep(
    path: Path, passphrase: str, before: Callable[[Ed25519PrivateKey], object]
) -> Ed25519PrivateKey:
    """Return the key at ``path``; one that is made there is shown to ``before`` first."""
    found, as_wanted = _load(path, passphrase)
    key = found or fresh()
    if found is None:
        before(key)
    if not as_wanted:
        write_atomic(str(path), _to_bytes(key, passphrase), mode=0o600)
    return key


def _load(path: Path, passphrase: str) -> tuple[Ed25519PrivateKey | None, bool]:
    """Return the key, and whether it lies there as the passphrase wants it."""
    try:
        data = read_limited(str(path), _MAX_KEY)
    except FileNotFoundError:
        return None, False
    if os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AirlockError.refuse(
            "others can read the signing key",
            expected="mode 0600",
            found=f"mode {stat.S_IMODE(os.stat(path).st_mode):04o}",
            where=str(path),
            fix="chmod 0600 it, and think about who has it now",
        )
    encrypted = b" ENCRYPTED " in data.partition(b"\n")[0]
    if encrypted and not passphrase:
        raise AirlockError.refuse(
            "the signing key is encrypted",
            where=str(path),
            fix="set airlock_signing_passphrase, in a vault file",
        )
    with reading(
        "the signing key",
        expected="an Ed25519 key" + (" under airlock_signing_passphrase" if encrypted else ""),
        where=str(path),
        fix="correct the passphrase" if encrypted else _BACKUP,
    ):
        key = serialization.load_pem_private_key(data, passphrase.encode() if encrypted else None)
    if not isinstance(key, Ed25519PrivateKey):
        raise AirlockError.refuse(
            "the signing key is of another kind",
            expected="an Ed25519 key",
            found=type(key).__name__,
            where=str(path),
            fix=_BACKUP,
        )
    return key, encrypted == bool(passphrase)


def _to_bytes(key: Ed25519PrivateKey, passphrase: str) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
