# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of a publisher: path validation by `cryptography` (RFC 5280), and what it may be used for.

Revocation is not looked up: the controller asks nobody. Whoever is told that a certificate was revoked
takes its authority out of the catalog.
"""

from __future__ import annotations

import contextlib
import datetime
from dataclasses import dataclass
from typing import Any

from ..module_utils.errors import AirlockError
from . import dsse
from .foreign import reading

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.x509 import oid

_MAX_CHAIN = 5


@dataclass(frozen=True)
class _Leaf:
    """What a certificate says of its owner: the subject is the first of ``names``, times are UTC."""

    key: Any
    names: tuple[str, ...]
    since: datetime.datetime
    until: datetime.datetime


def public_key(
    certificates: Any,
    authorities: bytes,
    identity: str,
    when: datetime.datetime,
    where: str,
) -> Any:
    """Return the public key in the first of ``certificates``, ``[{"rawBytes": base64 of DER}, …]``.

    It has to lead to ``authorities`` (PEM) through the others, to be valid at ``when`` (UTC), to be meant
    for signing code, and to name ``identity`` as an alternative name or as its subject (RFC 4514).
    Raises AirlockError.
    """
    _refuse_old_library()
    chain = _chain(certificates, where)
    with reading(
        "the publisher's certificate",
        expected="X.509 as RFC 5280 has it, of a known key",
        where=where,
    ):
        leaf = _leaf(chain[0])
    with reading("the publisher's authority", expected="certificates in PEM", where=where):
        anchors = x509.load_pem_x509_certificates(authorities)
    try:
        _validate(chain, anchors, when)
    except ValueError as exc:
        raise AirlockError.refuse(
            "the publisher's certificate is not one of the authority that the catalog names "
            f"({exc})",
            expected=f"valid on {when:%Y-%m-%d}, for signing code",
            found=f"{leaf.names[0]}, valid from {leaf.since:%Y-%m-%d} to {leaf.until:%Y-%m-%d}",
            where=where,
            fix="get a newer bundle, or name in as_of the day on which you approved this one",
        ) from exc
    if identity not in leaf.names:
        raise AirlockError.refuse(
            "the model was signed by somebody else",
            expected=identity,
            found=", ".join(leaf.names),
            where=where,
        )
    return leaf.key


def _refuse_old_library() -> None:
    try:
        from cryptography.x509.verification import ExtensionPolicy  # noqa: F401
    except ImportError as exc:
        raise AirlockError.refuse(
            "certificates of publishers need a newer Python package cryptography on the controller",
            expected="45 or newer",
        ) from exc


def _validate(
    chain: list[x509.Certificate], anchors: list[x509.Certificate], when: datetime.datetime
) -> None:
    """Raises ValueError with the reason."""
    from cryptography.x509.verification import (
        Criticality,
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    code = x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_code
    authority = ExtensionPolicy.webpki_defaults_ca().may_be_present(*code)
    leaf = (
        ExtensionPolicy.permit_all()
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _for_signatures)
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _no_authority)
        .may_be_present(*code)
    )
    verifier = (
        PolicyBuilder()
        .store(Store(anchors))
        .time(when)
        .max_chain_depth(_MAX_CHAIN)
        .extension_policies(ca_policy=authority, ee_policy=leaf)
        .build_client_verifier()
    )
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError as exc:
        raise ValueError(str(exc)) from exc


def _for_code(_policy: Any, _certificate: Any, usage: x509.ExtendedKeyUsage | None) -> None:
    wanted = (oid.ExtendedKeyUsageOID.CODE_SIGNING, oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if usage is not None and not any(purpose in usage for purpose in wanted):
        raise ValueError("it is not meant for signing code")


def _for_signatures(_policy: Any, _certificate: Any, usage: x509.KeyUsage) -> None:
    if not usage.digital_signature:
        raise ValueError("its key is not meant for signatures")


def _no_authority(
    _policy: Any, _certificate: Any, constraints: x509.BasicConstraints | None
) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("it is an authority")


def _chain(certificates: Any, where: str) -> list[x509.Certificate]:
    if not isinstance(certificates, list) or not 0 < len(certificates) <= _MAX_CHAIN:
        raise AirlockError.refuse(
            "the bundle has no proper chain of certificates",
            expected=f"1 to {_MAX_CHAIN}",
            where=where,
        )
    chain = []
    for index, entry in enumerate(certificates):
        raw = entry.get("rawBytes") if isinstance(entry, dict) else None
        spot = f"{where}: certificates[{index}]"
        data = dsse.decode(raw, spot)
        with reading("the certificate", expected="X.509 in DER", where=spot):
            chain.append(x509.load_der_x509_certificate(data))
    return chain


def _leaf(certificate: x509.Certificate) -> _Leaf:
    """Raises whatever `cryptography` does."""
    names = [certificate.subject.rfc4514_string()]
    with contextlib.suppress(x509.ExtensionNotFound):
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for kind in (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName):
            names += alternative.value.get_values_for_type(kind)
    return _Leaf(
        certificate.public_key(),
        tuple(names),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
