# SPDX-License-Identifier: GPL-3.0-or-later
"""A publisher of models for tests: keys, certificates, and bundles as model-signing writes them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HASHES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
BORN = datetime.datetime(2026, 1, 1)
YEAR = datetime.timedelta(days=365)
FILES = {"README.md": "a" * 64, "weights/model.safetensors": "b" * 64}


def key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def pem(private: Any) -> bytes:
    """Return the public key in PEM."""
    return bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def statement(files: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a statement over ``files``, by default FILES."""
    files = FILES if files is None else files
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values()))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": resources,
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [".git", ".gitattributes"],
            },
        },
        **changes,
    }


def bundle(
    private: ec.EllipticCurvePrivateKey,
    signed: Any = None,
    *,
    material: Mapping[str, Any] | None = None,
    kind: str = "application/vnd.in-toto+json",
) -> dict[str, Any]:
    """Return a bundle over ``signed``, by default a statement over FILES."""
    payload = json.dumps(signed if signed is not None else statement(), indent=1).encode()
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    signature = private.sign(encoded, ec.ECDSA(HASHES[private.curve.name]))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            **(material or {"publicKey": {"hint": "0" * 64}}),
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def certificate(
    name: str,
    public: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    purposes: tuple[Any, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,),
    signs: bool = True,
) -> x509.Certificate:
    """Return a certificate that is valid through 2026."""

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(public.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BORN)
        .not_valid_after(BORN + YEAR)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                **usage,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
    )
    if not authority:
        address = x509.RFC822Name(f"{name}@models.example")
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(by, hashes.SHA256())


def chain(*certificates: x509.Certificate) -> dict[str, Any]:
    """Return the material of a bundle that was signed with the first of ``certificates``."""
    return {
        "x509CertificateChain": {
            "certificates": [
                {"rawBytes": base64.b64encode(der(entry)).decode()} for entry in certificates
            ]
        }
    }


def der(entry: x509.Certificate) -> bytes:
    return entry.public_bytes(serialization.Encoding.DER)
