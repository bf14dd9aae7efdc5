# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of publishers over models: OpenSSF Model Signing, with a key or a certificate.

A bundle is Sigstore's JSON (github.com/sigstore/protobuf-specs, bundle v0.3) with a DSSE envelope around
an in-toto statement, whose predicate (https://model_signing/signature/v1.0) lists each file with its
digest (github.com/sigstore/model-transparency). The subject is the SHA-256 of all those digests in order.

Nothing of a bundle is believed before its signature is verified, and who may sign is never taken from it.
What it says it ignores is not ignored: the files of the model are the signed ones, and no others.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..module_utils import artifacts_schema as schema
from ..module_utils import canonical
from ..module_utils.errors import AirlockError
from . import dsse, publisher_certificates
from .foreign import reading

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

MAX_BUNDLE = 8 * 1024 * 1024
MAX_ANCHOR = 1024 * 1024
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_MAX_FILES = 1000
# RFC 5656, 6.2.1, and what the format says: a hash as strong as the curve.
_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


@dataclass(frozen=True)
class Signed:
    """What a publisher signed: path to SHA-256 of each file, and the SHA-256 of the public key (DER)."""

    files: Mapping[str, str]
    key_id: str


def by_key(bundle: bytes, key: bytes, where: str) -> Signed:
    """Verify ``bundle`` with a public key in PEM. Raises AirlockError."""
    entry = _bundle(bundle, where)
    _material(entry, "publicKey", where)
    with reading("the publisher's key", expected="a public key in PEM", where=where):
        public = serialization.load_pem_public_key(key)
    return _verified(entry, public, where)


def by_certificate(
    bundle: bytes, authorities: bytes, identity: str, when: datetime.datetime, where: str
) -> Signed:
    """Verify ``bundle`` with the certificate of ``identity`` in it, valid at ``when`` (UTC).

    ``authorities`` are the only ones that may certify it, in PEM. Raises AirlockError.
    """
    entry = _bundle(bundle, where)
    chain = schema.fields(
        _material(entry, "x509CertificateChain", where), where, required=("certificates",)
    )
    public = publisher_certificates.public_key(
        chain["certificates"], authorities, identity, when, where
    )
    return _verified(entry, public, where)


def refuse_difference(signed: Signed, files: Mapping[str, str], where: str) -> None:
    """Check that ``files``, path to SHA-256, are exactly the signed ones. Raises AirlockError."""
    for path in sorted({*signed.files, *files}):
        expected, found = signed.files.get(path), files.get(path)
        if expected != found:
            raise AirlockError.refuse(
                f"the publisher did not sign this model: {path}",
                expected=f"sha256 {expected}" if expected else "no such file",
                found=f"sha256 {found}" if found else "no such file",
                where=where,
                fix="list in airlock_models exactly the files that were signed, "
                "or get the bundle that belongs to them",
            )


def _bundle(data: bytes, where: str) -> dict[str, Any]:
    entry = schema.fields(
        canonical.loads(data, where=where, max_bytes=MAX_BUNDLE),
        where,
        required=("mediaType", "verificationMaterial", "dsseEnvelope"),
    )
    schema.choice(entry["mediaType"], f"{where}: mediaType", (_MEDIA_TYPE,))
    return entry


def _material(entry: Mapping[str, Any], wanted: str, where: str) -> Any:
    material = entry["verificationMaterial"]
    if not isinstance(material, dict) or wanted not in material:
        raise AirlockError.refuse(
            "the bundle was signed in another way than the catalog says",
            expected=wanted,
            found=", ".join(sorted(map(str, material))) if isinstance(material, dict) else "none",
            where=where,
        )
    return material[wanted]


def _verified(entry: Mapping[str, Any], public: Any, where: str) -> Signed:
    algorithm = (
        _HASHES.get(public.curve.name) if isinstance(public, ec.EllipticCurvePublicKey) else None
    )
    if algorithm is None:
        raise AirlockError.refuse(
            "the publisher's key is of another kind",
            expected="an EC key on P-256, P-384 or P-521",
            found=type(public).__name__.removeprefix("_"),
            where=where,
        )
    envelope = dsse.parse(entry["dsseEnvelope"], where)
    try:
        public.verify(envelope.signature, envelope.signed, ec.ECDSA(getattr(hashes, algorithm)()))
    except InvalidSignature as exc:
        raise AirlockError.refuse(
            "the signature was not made by the publisher that the catalog names",
            expected=f"one by key {_key_id(public)[:16]}",
            where=where,
            fix="get bundle and key from the publisher again, over two ways",
        ) from exc
    _name, root, predicate = dsse.statement(envelope, _PREDICATE_TYPE, where)
    files = _files(predicate, where)
    found = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values()))
    if found.hexdigest() != root:
        raise AirlockError.refuse(
            "the signed list of files does not have the digest that was signed with it",
            expected=root,
            found=found.hexdigest(),
            where=where,
        )
    return Signed(files, _key_id(public))


def _files(predicate: Any, where: str) -> dict[str, str]:
    """Return path to SHA-256 in the order of the statement."""
    entry = schema.fields(predicate, where, required=("resources", "serialization"))
    kinds = schema.fields(
        entry["serialization"],
        where,
        required=("method", "hash_type"),
        optional=("allow_symlinks", "ignore_paths", "shard_size"),
    )
    for key, wanted in (("method", "files"), ("hash_type", "sha256")):
        schema.choice(kinds[key], f"{where}: {key}", (wanted,))
    resources = entry["resources"]
    if not isinstance(resources, list) or not 0 < len(resources) <= _MAX_FILES:
        raise AirlockError.refuse(
            "the bundle has no proper list of files", expected=f"1 to {_MAX_FILES}", where=where
        )
    files: list[tuple[str, str]] = []
    for index, item in enumerate(resources):
        spot = f"{where}: resources[{index}]"
        resource = schema.fields(item, spot, required=("name", "algorithm", "digest"))
        path = schema.relative_path(resource["name"], f"{spot}.name")
        schema.choice(resource["algorithm"], f"{spot}.algorithm", ("sha256",))
        files.append((path, schema.sha256(resource["digest"], f"{spot}.digest")))
    schema.distinct([path for path, _digest in files], f"{where}: resources")
    return dict(files)


def _key_id(public: ec.EllipticCurvePublicKey) -> str:
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()
