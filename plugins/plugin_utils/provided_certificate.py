# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server certificate that the owner brings, checked before it goes anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from ..module_utils.errors import AirlockError
from . import certificates
from .foreign import reading

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID

_CERTIFICATE = "pki_provided_certificate"
_AUTHORITY = "pki_provided_authority"
_KINDS = "RSA, Ed25519 or ECDSA on a named curve"


@dataclass(frozen=True)
class Provided:
    """The server's certificate and its chain in PEM, and nothing else that the owner's file held; when it ends."""

    chain: bytes
    until: datetime


def check(
    chain: bytes, key: bytes, names: Sequence[str], now: datetime, authority: bytes = b""
) -> Provided:
    """Return the certificate that comes first in ``chain``, with who signed it after it.

    ``authority`` has those that clients trust, PEM; it is empty where they are those that every system knows.

    Raises AirlockError when the key is another one, a name of ``names`` is missing (a wildcard stands for one
    label, RFC 9525), a part of it is not valid now, it is not for servers, the chain is out of order, or it leads to
    none of ``authority``. What cryptography.x509.verification demands beyond that, clients do not: it refuses a root
    without key usages, which many private ones are.
    """
    found = _load(chain, _CERTIFICATE)
    leaf = found[0]
    for certificate, issuer in pairwise(found):
        if not _signed(certificate, issuer):
            raise AirlockError.refuse(
                "the chain is out of order",
                expected=f"after {certificate.subject.rfc4514_string()} the certificate that signed it",
                found=issuer.subject.rfc4514_string(),
                where=_CERTIFICATE,
                fix="write the server's certificate first, and then each with the one that signed it after it",
            )
    _check_key(leaf, key)
    _check_dates(found, now, _CERTIFICATE)
    _check_use(leaf)
    _check_names(leaf, names)
    if authority:
        _check_authority(found, _load(authority, _AUTHORITY), now)
    data = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)
    return Provided(data, leaf.not_valid_after_utc)


def _load(data: bytes, where: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as exc:
        raise AirlockError.refuse("this is no certificate", expected="PEM", where=where) from exc
    with reading("the key in a certificate", expected=_KINDS, where=where, fix="bring another"):
        for one in found:
            one.public_key()
    return found


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _check_dates(found: Sequence[x509.Certificate], now: datetime, where: str) -> None:
    for certificate in found:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin <= now < end:
            name = certificate.subject.rfc4514_string()
            raise AirlockError.refuse(
                f"the certificate {f'of {name} ' if name else ''}is not valid now",
                expected=f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}",
                found=f"{now:%Y-%m-%d}",
                where=where,
                fix="bring one that is",
            )


def _check_use(leaf: x509.Certificate) -> None:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:  # then it is for everything (RFC 5280 section 4.2.1.12)
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise AirlockError.refuse(
            "the certificate is not for servers",
            expected="serverAuth among its extended key usages",
            found=", ".join(usage.dotted_string for usage in usages),
            where=_CERTIFICATE,
            fix="bring one that was requested for a server",
        )


def _check_names(leaf: x509.Certificate, names: Sequence[str]) -> None:
    try:
        good = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        has = good.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        has = []
    missing = [name for name in names if not any(_covers(one, name) for one in has)]
    if missing or not names:
        raise AirlockError.refuse(
            "the certificate is for other names",
            expected=", ".join(missing) or "a name in airlock_server_names",
            found=", ".join(has) or "none",
            where=_CERTIFICATE,
            fix="correct airlock_server_names, or bring another certificate",
        )


def _check_authority(
    found: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], now: datetime
) -> None:
    anchors = [one for one in trusted if one in found or _signed(found[-1], one)]
    if not anchors:
        raise AirlockError.refuse(
            "the certificate leads to none of the authorities that it is to be checked against",
            expected=" or ".join(one.subject.rfc4514_string() for one in trusted),
            found=found[-1].issuer.rfc4514_string(),
            where=_CERTIFICATE,
            fix=f"add what is missing of the chain, or correct {_AUTHORITY}",
        )
    _check_dates(anchors, now, _AUTHORITY)


def _check_key(leaf: x509.Certificate, key: bytes) -> None:
    where = "pki_provided_key"
    try:
        private = serialization.load_pem_private_key(key, None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as exc:
        raise AirlockError.refuse(
            "this is no private key", expected=f"PEM without a passphrase, {_KINDS}", where=where
        ) from exc
    public = cast("CertificatePublicKeyTypes", private.public_key())
    if not certificates.same_key(public, leaf.public_key()):
        raise AirlockError.refuse(
            "the key is not that of the certificate",
            where=where,
            fix="bring the key with which the certificate was requested",
        )


def _covers(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name
