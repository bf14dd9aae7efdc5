# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the authority signs for whom: hosts, and the people and agents that ask them.

A request (PKCS #10, RFC 2986) proves who has the key and nothing else. Name, use and life of the
certificate come from the intent; a request that asks for anything beyond that is refused, because
somebody meant it.
"""

from __future__ import annotations

import contextlib
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..module_utils import exposure
from ..module_utils.errors import AirlockError
from . import certificates
from .authority import CLIENT, HOST, Authority
from .certificates import Scope
from .staged_files import pem

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs12

_MAX_REQUEST = 16 * 1024
_BUNDLE = ("key", "p12", "passphrase")
_SUFFIXES = ("pem", *_BUNDLE)


def read_request(data: bytes, where: str) -> x509.CertificateSigningRequest:
    """Return a request whose signature is good and whose key is ECDSA P-256. Raises AirlockError."""
    try:
        if len(data) > _MAX_REQUEST:
            raise ValueError("too large")
        request = x509.load_pem_x509_csr(data)
        # All of it is read here, because every part is parsed when it is first looked at.
        signed, key, _extensions = (
            request.is_signature_valid,
            request.public_key(),
            request.extensions,
        )
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as exc:
        raise AirlockError.refuse(
            "this is no certificate request of a kind that is known",
            expected="PKCS #10 in PEM, ECDSA on P-256",
            found=str(exc) or type(exc).__name__,
            where=where,
            fix="make it anew",
        ) from exc
    if not signed:
        raise AirlockError.refuse(
            "the request is not signed by the key that it names", where=where, fix="make it anew"
        )
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise AirlockError.refuse(
            "the key is of another kind", expected="ECDSA on P-256", where=where, fix="make another"
        )
    return request


def check_host(request: x509.CertificateSigningRequest, scope: Scope, where: str) -> None:
    """Refuse a request for other names than those of ``scope``, or for more than a server needs.

    Raises AirlockError.
    """
    found = _alternatives(request)
    wanted = _alternatives_of(scope)
    beyond = _beyond(request)
    if (
        found == wanted
        and request.subject.rfc4514_string() == f"CN={certificates.SERVER_SUBJECT}"
        and not beyond
    ):
        return
    asked = [request.subject.rfc4514_string() or "no subject", *found, *beyond]
    raise AirlockError.refuse(
        "the host asks for a certificate that is not its own, and nothing was signed",
        expected=", ".join([f"CN={certificates.SERVER_SUBJECT}", *wanted]),
        found=", ".join(asked),
        where=where,
        fix="look at who wrote the request there",
    )


def host_due(
    authority: Authority, host: str, scope: Scope, public_key: bytes, days: int
) -> list[str]:
    """Return why the host needs a certificate, nothing when the one it has will do.

    ``public_key`` is that of the key on the host in PEM, empty when there is none; ``days`` is how long one lives that
    is made now.
    """
    path = _of_host(authority, host)
    found = authority.certificate(path)
    if found is None:
        return [f"{host} has no certificate"]
    data = authority.read(path) or b""
    reasons = []
    if certificates.is_due(found, authority.now):
        late = authority.now >= found.not_valid_before_utc
        what = "has lived half of its life" if late else "is from the future"
        reasons.append(f"the certificate of {host} {what}")
    elif certificates.outlives(found, authority.now, days):
        reasons.append(f"the certificate of {host} lives longer than the {days} days of now")
    if _alternatives(found) != _alternatives_of(scope):
        reasons.append(f"{host} has other names or addresses now")
    if not data.strip().endswith(
        authority.issuing.certificate.public_bytes(serialization.Encoding.PEM).strip()
    ):
        reasons.append("the issuing authority is another one")
    if not _is_key_of(found, public_key):
        reasons.append(f"the key on {host} is not that of its certificate")
    # This very one: what was issued last may be another, of a run that was interrupted.
    if authority.register.has_revoked(serial=found.serial_number):
        reasons.append(f"the certificate of {host} is revoked")
    return reasons


def sign_host(authority: Authority, host: str, scope: Scope, request: bytes, days: int) -> bytes:
    """Sign the request of a host, keep the certificate and return it with its chain. Raises AirlockError."""
    _check_scope(authority, host, scope)
    parsed = read_request(request, f"the request of {host}")
    check_host(parsed, scope, f"the request of {host}")
    chain = authority.sign(HOST, host, parsed.public_key(), timedelta(days=days), server=scope)
    authority.write(_of_host(authority, host), chain, f"signed a certificate for {host}")
    return chain


def keep_clients(
    authority: Authority,
    wanted: dict[str, dict[str, Any]],
    days: int,
    crl_days: int,
    anew: str = "",
) -> list[dict[str, str]]:
    """Give each of ``wanted`` a certificate for ``days``, and take back those of all others.

    ``wanted`` maps ids to ``{csr: PATH}`` or ``{}``; without a request the key is made here. ``anew`` is the id of
    one that gets another certificate although it has one. One that was revoked while it was wanted gets none until
    then; one that is wanted again after it was not gets another. Returns id, state (``good`` or ``revoked``), file,
    end, the end of the one before and SHA-256 of each. Raises AirlockError and OSError.
    """
    for name in wanted:
        exposure.check_client(name)
    for name in authority.register.names(CLIENT):
        if name not in wanted:
            _part_from(authority, name, crl_days)
    if anew and anew not in wanted:
        raise AirlockError.refuse(
            "there is no such client",
            expected=", ".join(sorted(wanted)) or "entries in airlock_clients",
            found=anew,
            where="airlock_clients",
        )
    return [
        _keep_client(authority, name, entry, days, anew=name == anew)
        for name, entry in sorted(wanted.items())
    ]


def _part_from(authority: Authority, name: str, crl_days: int) -> None:
    """Take back what a client has that is no longer wanted, and remember that it was not, for the day when it is."""
    authority.revoke(CLIENT, name, crl_days)
    forget_client(authority, name)
    staying = [entry for entry in authority.register.of_name(CLIENT, name) if not entry.left]
    if staying:
        authority.reasons.append(f"the client {name} is no longer wanted")
    for entry in staying:
        entry.left = True


def forget_client(authority: Authority, name: str) -> None:
    """Remove what was made for a client."""
    for suffix in _SUFFIXES:
        authority.remove(_of_client(authority, name, suffix))


def _keep_client(
    authority: Authority, name: str, entry: dict[str, Any], days: int, *, anew: bool
) -> dict[str, str]:
    path = _of_client(authority, name, "pem")
    found = authority.certificate(path)
    revoked = authority.register.last_was_revoked(CLIENT, name)
    request = None
    if entry.get("csr"):
        source = authority.site / str(entry["csr"])
        try:
            request = read_request(source.read_bytes(), str(source))
        except OSError as exc:
            raise AirlockError.refuse(
                "the request of a client cannot be read",
                found=exc.strerror or str(exc),
                where=str(source),
                fix=f"correct airlock_clients.{name}.csr",
            ) from exc
        if _beyond(request) or _alternatives(request):
            raise AirlockError.refuse(
                "a client asks for more than to be a client",
                found=", ".join([*_alternatives(request), *_beyond(request)]),
                where=str(source),
                fix="make a request with a subject and nothing else",
            )
    due = (
        found is None
        or certificates.is_due(found, authority.now)
        or certificates.outlives(found, authority.now, days)
        or not certificates.is_issued_by(found, authority.issuing)
        or not _has_key(authority, name, found, request)
        # A run that was interrupted has left the file of one that was taken back.
        or authority.register.has_revoked(serial=found.serial_number)
    )
    if due and not anew and not revoked and request is not None:
        # Nobody else has to wait until this one brings another: the next run may be the last before a list ends.
        revoked = authority.register.has_revoked(
            key=certificates.fingerprint_of_key(request.public_key())
        )
        if revoked:
            authority.warnings.append(
                f"{entry['csr']}: the key in the request of {name} was revoked; it gets no certificate until it brings "
                "a request for another key."
            )
    if anew or (due and not revoked):
        _issue_client(authority, name, request, days)
        found, revoked = authority.certificate(path), False
    before = (
        authority.register.before(CLIENT, name, authority.now, found.serial_number)
        if found
        else None
    )
    return {
        "id": name,
        "state": "revoked" if revoked else "good",
        "file": str(path),
        "until": _day(found.not_valid_after_utc) if found else "",
        "before": _day(before.until) if before else "",
        "sha256": certificates.fingerprint(found) if found else "",
    }


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _has_key(
    authority: Authority,
    name: str,
    found: x509.Certificate,
    request: x509.CertificateSigningRequest | None,
) -> bool:
    """Tell whether a client's certificate is for the key in its request, or for the one that was made here.

    A run that stopped may have left the key of another one. A key that its owner took away is taken on trust.
    """
    if request is not None:
        return certificates.same_key(found.public_key(), request.public_key())
    data = authority.read(_of_client(authority, name, "key"))
    if data is None:
        return True
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError:  # its owner encrypted it
        return True
    except ValueError:
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and certificates.same_key(
        found.public_key(), key.public_key()
    )


def _issue_client(
    authority: Authority, name: str, request: x509.CertificateSigningRequest | None, days: int
) -> None:
    """Sign for the request, or make key, certificate and a bundle for devices (PKCS #12, RFC 7292)."""
    key = certificates.make_key()
    public = request.public_key() if request else key.public_key()
    chain = authority.sign(CLIENT, name, public, timedelta(days=days))
    if request is None:
        _bundle_client(authority, name, key, chain)
    else:  # the key is where the request was made, and stays there; one that was made here before fits no more
        for suffix in _BUNDLE:
            authority.remove(_of_client(authority, name, suffix))
    # The last of these: where it is, the others are.
    reason = f"issued a certificate to the client {name}"
    authority.write(_of_client(authority, name, "pem"), chain, reason, mode=0o600)


def _bundle_client(
    authority: Authority, name: str, key: ec.EllipticCurvePrivateKey, chain: bytes
) -> None:
    """Keep key and bundle for a client."""
    passphrase = secrets.token_urlsafe(18)
    leaf, issuing = x509.load_pem_x509_certificates(chain)
    bundle = pkcs12.serialize_key_and_certificates(
        name.encode(),
        key,
        leaf,
        [issuing],
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    for suffix, data in (
        ("key", pem(key)),
        ("p12", bundle),
        ("passphrase", passphrase.encode() + b"\n"),
    ):
        authority.write(_of_client(authority, name, suffix), data, mode=0o600)


def _check_scope(authority: Authority, host: str, scope: Scope) -> None:
    """Refuse names and addresses for which the issuing authority must not speak: no client would believe them."""
    permitted = certificates.constraints(authority.issuing.certificate)
    outside = scope.outside(permitted) if permitted else []
    if outside:
        raise AirlockError.refuse(
            f"the authority of this house does not speak for {', '.join(outside)}, so no client would believe it",
            where=f"the certificate of {host}",
            fix="set pki_server_names and pki_server_addresses for that host in the inventory, where all runs see them",
        )


def _of_host(authority: Authority, host: str) -> Path:
    return authority.directory / "hosts" / f"{host}.pem"


def _of_client(authority: Authority, name: str, suffix: str) -> Path:
    return authority.site / "secrets" / "clients" / f"{name}.{suffix}"


def _is_key_of(certificate: x509.Certificate, public_key: bytes) -> bool:
    try:
        key = serialization.load_pem_public_key(public_key)
    except ValueError:
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and certificates.same_key(
        key, certificate.public_key()
    )


def _alternatives(asked: x509.CertificateSigningRequest | x509.Certificate) -> list[str]:
    """Return the alternative names, each with its kind, sorted."""
    try:
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds: dict[type, str] = {x509.DNSName: "DNS", x509.IPAddress: "IP"}
    return sorted(f"{kinds.get(type(name), type(name).__name__)}:{name.value}" for name in names)


def _alternatives_of(scope: Scope) -> list[str]:
    return sorted([*(f"DNS:{n}" for n in scope.names), *(f"IP:{a}" for a in scope.addresses)])


def _beyond(request: x509.CertificateSigningRequest) -> list[str]:
    """Return what a request asks for that no leaf of ours needs: an authority, other uses, anything unknown."""
    beyond = []
    for extension in request.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            continue
        if isinstance(value, x509.BasicConstraints) and not value.ca:
            continue
        if isinstance(value, x509.KeyUsage) and value.digital_signature and not value.key_cert_sign:
            continue
        beyond.append(f"{type(value).__name__}")
    return beyond
