# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody would do to the authority, tried in memory for verify.yml, and what they would show the edge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..module_utils.errors import AirlockError
from . import certificates
from .authority import CLIENT, PROBE, PROBE_NAME, WITNESS_NAME, Authority
from .certificate_requests import check_host, read_request
from .certificates import Identity, Scope
from .staged_files import pem

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import verification

_FOREIGN = "example.org"
_HOUR = timedelta(hours=1)
# What a visitor's certificate lives, whose key goes to a machine of somebody else: a run that asks at the front door.
_VISIT = timedelta(minutes=30)


def attempt(authority: Authority, host: str, scope: Scope) -> dict[str, list[dict[str, Any]]]:
    """Return what was tried of ``signing`` and of ``scope``.

    Each has ``probe``, ``holds``, ``observed`` and ``positive_control``, as module ``evidence`` takes it.
    """
    wider = Scope((*scope.names, _FOREIGN), scope.addresses)
    tries: list[tuple[str, str, Callable[[], None], Callable[[], None]]] = [
        (
            "signing",
            f"a request of {host} that adds {_FOREIGN}",
            lambda: _ask(_request(wider), scope),
            lambda: _ask(_request(scope), scope),
        ),
        (
            "signing",
            f"a request of {host} to be an authority",
            lambda: _ask(_request(scope, authority=True), scope),
            lambda: _ask(_request(scope), scope),
        ),
        (
            "scope",
            f"a certificate for {_FOREIGN}, signed by the issuing authority itself",
            lambda: _believe(authority, Scope((_FOREIGN,), ())),
            lambda: _believe(authority, scope),
        ),
        (
            "scope",
            "a certificate for 198.18.0.1, signed by the issuing authority itself",
            lambda: _believe(authority, Scope((), ("198.18.0.1",))),
            lambda: _believe(authority, scope),
        ),
    ]
    results: dict[str, list[dict[str, Any]]] = {"signing": [], "scope": []}
    for promise, probe, attack, itself in tries:
        refusal, objection = _refusal(attack), _refusal(itself)
        results[promise].append(
            {
                "probe": probe,
                "holds": bool(refusal),
                "observed": f"refused: {refusal}" if refusal else "accepted",
                "positive_control": None if objection else "its own names and addresses are taken",
            }
        )
    return results


def visitors(authority: Authority, *, witness_of: str = "") -> dict[str, str]:
    """Return what clients may show the edge, each as PEM of certificate, chain and key.

    ``valid`` is good for half an hour; ``expired`` was; ``server`` is for a server only, whose name nobody has;
    ``stranger`` comes from an authority of its own; ``revoked`` is on the list since the authority was made. With the
    name of a client, ``witness`` is good until the certificates of that client are taken back: it shows that they are
    refused without the client's own key.
    """
    issuer, now = authority.issuing, authority.now
    chain = issuer.certificate.public_bytes(Encoding.PEM)
    keys = {name: certificates.make_key() for name in ("expired", "server", "stranger")}
    other = certificates.make_root(now)

    def leaf(name: str, by: Identity, **how: Any) -> bytes:
        made = certificates.make_leaf(
            by,
            keys[name].public_key(),
            PROBE_NAME.format(name),
            **{"end": now + _VISIT, "now": now, **how},
        )
        return made.public_bytes(Encoding.PEM)

    def visitor(name: str) -> bytes:
        mine = certificates.make_key()
        return authority.sign(PROBE, name, mine.public_key(), _VISIT) + pem(mine)

    revoked = authority.read(authority.directory / "probe.pem") or b""
    shown = {
        "valid": visitor(PROBE_NAME.format("valid")),
        "expired": leaf("expired", issuer, end=now - _HOUR, now=now - 2 * _HOUR)
        + chain
        + pem(keys["expired"]),
        "server": leaf("server", issuer, server=Scope((), ())) + chain + pem(keys["server"]),
        "stranger": leaf("stranger", other) + pem(keys["stranger"]),
        "revoked": revoked,
    }
    if authority.living(CLIENT, witness_of):
        shown["witness"] = visitor(WITNESS_NAME.format(witness_of))
    return {name: data.decode() for name, data in shown.items()}


def _refusal(action: Callable[[], None]) -> str:
    """Return what the refusal says, '' when there is none."""
    try:
        action()
    except (AirlockError, verification.VerificationError) as exc:
        return str(exc)
    return ""


def _request(asked: Scope, *, authority: bool = False) -> bytes:
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, certificates.SERVER_SUBJECT)]
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(asked.alternatives(), critical=False)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        Encoding.PEM
    )


def _ask(request: bytes, scope: Scope) -> None:
    check_host(read_request(request, "a request"), scope, "a request")


def _believe(authority: Authority, scope: Scope) -> None:
    """Verify as a client does. Raises VerificationError."""
    root = authority.certificate(authority.directory / "ca.pem")
    if root is None:  # both are made at once
        raise AirlockError("the certificate of the root is gone.")
    made = certificates.make_leaf(
        authority.issuing,
        certificates.make_key().public_key(),
        "airlock probe",
        authority.now + _HOUR,
        authority.now,
        server=scope,
    )
    store = verification.PolicyBuilder().store(verification.Store([root])).time(authority.now)
    for subject in scope.alternatives():
        if isinstance(subject, (x509.DNSName, x509.IPAddress)):
            store.build_server_verifier(subject).verify(made, [authority.issuing.certificate])
