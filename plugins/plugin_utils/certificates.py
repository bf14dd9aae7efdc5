# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of the house (RFC 5280), built in memory from keys, names and a moment.

ECDSA on P-256 with SHA-256 throughout. Nothing here reads a clock, a file or a variable.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_DAYS = 3650
ISSUING_DAYS = 730
# Clocks of clients differ; a certificate is good from a little before it was made.
_SKEW = timedelta(minutes=10)
# What a constraint names where the house has no name of that kind, because a kind that no constraint names is free
# (RFC 5280 section 4.2.1.10): a zone that cannot exist (RFC 6761 section 6.4).
_NOBODY = "invalid"


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Scope:
    """Names and addresses that the authority may speak for; a name stands for what is below it, too."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], addresses: Iterable[str]) -> Scope:
        """Return the scope in its one spelling: sorted, without duplicates, addresses compressed.

        Raises ValueError for what is no address.
        """
        texts = {str(ipaddress.ip_address(address)) for address in addresses}
        return cls(tuple(sorted(set(names))), tuple(sorted(texts)))

    def constraints(self) -> x509.NameConstraints:
        """Return the extension that says so."""
        addresses = [ipaddress.ip_network(address) for address in self.addresses]
        versions = {address.version for address in addresses}
        permitted: list[x509.GeneralName] = [
            *(x509.DNSName(name) for name in self.names or (_NOBODY,)),
            *(x509.IPAddress(address) for address in addresses),
            x509.RFC822Name(_NOBODY),
        ]
        everything = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}
        excluded = [
            x509.IPAddress(net) for number, net in everything.items() if number not in versions
        ]
        return x509.NameConstraints(permitted, excluded or None)

    def outside(self, permitted: x509.NameConstraints) -> list[str]:
        """Return the names and addresses for which an authority with these constraints must not speak."""
        trees = permitted.permitted_subtrees or []
        zones = [tree.value for tree in trees if isinstance(tree, x509.DNSName)]
        nets = [
            ipaddress.ip_network(tree.value) for tree in trees if isinstance(tree, x509.IPAddress)
        ]
        return [
            *(n for n in self.names if not any(f".{n}".endswith(f".{zone}") for zone in zones)),
            *(a for a in self.addresses if not any(ipaddress.ip_address(a) in n for n in nets)),
        ]

    def alternatives(self) -> x509.SubjectAlternativeName:
        """Return the extension by which a certificate is good for all of it."""
        return x509.SubjectAlternativeName(
            [
                *(x509.DNSName(name) for name in self.names),
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in self.addresses),
            ]
        )


# The subject of every server's certificate. Names stand in the extension alone (RFC 9525 section 2): where it has none,
# OpenSSL takes a subject that looks like one for a name, an address too, and holds it against the constraints.
SERVER_SUBJECT = "airlock server"


def make_key() -> ec.EllipticCurvePrivateKey:
    """Return a key that nobody has had before."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(now: datetime) -> Identity:
    """Return an authority that signs authorities and nothing else."""
    key = make_key()
    name = _name(f"airlock root {fingerprint_of_key(key.public_key())[:8]}")
    builder = _begin(name, name, key.public_key(), now, now + timedelta(days=ROOT_DAYS))
    certificate = _authority(builder, path_length=1).sign(key, hashes.SHA256())
    return Identity(certificate, key)


def make_issuing(
    root: Identity, key: ec.EllipticCurvePrivateKey, scope: Scope, now: datetime
) -> Identity:
    """Return the authority that signs for ``scope``, for TLS and for nothing else."""
    builder = _begin(
        _name(f"airlock issuing {fingerprint_of_key(key.public_key())[:8]}"),
        root.certificate.subject,
        key.public_key(),
        now,
        min(now + timedelta(days=ISSUING_DAYS), root.certificate.not_valid_after_utc),
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _authority(builder, path_length=0)
        .add_extension(scope.constraints(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_issuer(root), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    return Identity(certificate, key)


def make_leaf(
    issuer: Identity,
    public_key: CertificatePublicKeyTypes,
    common_name: str,
    end: datetime,
    now: datetime,
    *,
    server: Scope | None = None,
) -> x509.Certificate:
    """Return the certificate of a server good for ``server``, or that of a client without it.

    It ends at ``end``, or with its issuer. A server of an empty scope is one that no client believes.
    """
    end = min(end, issuer.certificate.not_valid_after_utc)
    builder = _begin(_name(common_name), issuer.certificate.subject, public_key, min(now, end), end)
    if server is not None and (server.names or server.addresses):
        builder = builder.add_extension(server.alternatives(), critical=False)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if server is None else ExtendedKeyUsageOID.SERVER_AUTH
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_issuer(issuer), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def make_crl(
    issuer: Identity,
    revoked: Sequence[tuple[int, datetime]],
    number: int,
    now: datetime,
    end: datetime,
) -> x509.CertificateRevocationList:
    """Return the list of ``revoked``, each a serial number and when it was revoked."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - _SKEW)
        .next_update(end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer(issuer), critical=False)
    )
    for serial, when in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256())


def is_due(made: x509.Certificate | x509.CertificateRevocationList, now: datetime) -> bool:
    """Tell whether it has lived half of its life, or is from the future because a clock was wrong."""
    begin, end = _life(made)
    return not begin <= now < begin + (end - begin) / 2


def outlives(
    made: x509.Certificate | x509.CertificateRevocationList, now: datetime, days: int
) -> bool:
    """Tell whether it is good for longer than ``days`` from now, because a longer life was declared before."""
    return _life(made)[1] > now + timedelta(days=days) + _SKEW


def _life(
    made: x509.Certificate | x509.CertificateRevocationList,
) -> tuple[datetime, datetime]:
    if isinstance(made, x509.CertificateRevocationList):
        return made.last_update_utc, made.next_update_utc or made.last_update_utc
    return made.not_valid_before_utc, made.not_valid_after_utc


def is_issued_by(certificate: x509.Certificate, issuer: Identity) -> bool:
    """Tell whether it says that the key of ``issuer`` signed it, with whatever certificate that has by now."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return False
    return found == _issuer(issuer)


def constraints(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """Return the name constraints of an authority, None where it has none."""
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def same_key(one: CertificatePublicKeyTypes, other: CertificatePublicKeyTypes) -> bool:
    """Tell whether two public keys are one."""
    return fingerprint_of_key(one) == fingerprint_of_key(other)


def fingerprint_of_key(key: CertificatePublicKeyTypes) -> str:
    """Return the SHA-256 of the public key's DER (SubjectPublicKeyInfo), 64 hex digits."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate's DER, 64 hex digits in small letters."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def common_name(name: x509.Name) -> str:
    """Return the common name in a subject, '' where there is none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(authority=True), critical=True
    )


def _usage(*, signature: bool = False, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer(issuer: Identity) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
