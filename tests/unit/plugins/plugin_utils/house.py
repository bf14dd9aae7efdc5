# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority to try things on, with a clock of its own, and `openssl verify` as the judge of what it made."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from ansible_collections.homelab.airlock.plugins.action.authority import ActionModule
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    certificate_requests,
    certificates,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import Authority
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
SCOPE = Scope.of(["ai.home.arpa"], ["192.168.30.10", "fd00::10"])
DAY = timedelta(days=1)


def keep(
    site: Path,
    now: datetime = NOW,
    *,
    scope: Scope = SCOPE,
    clients: dict[str, Any] | None = None,
    anew: str = "",
    days: int = 90,
    client_days: int = 90,
    check: bool = False,
    passphrase: str = "",
    placed: Mapping[str, bytes] | None = None,
    warnings: list[str] | None = None,
) -> tuple[list[str], list[dict[str, str]]]:
    """Do what site.yml does; return reasons and clients, and add to ``warnings``."""
    known = {"placed": placed} if placed else {}
    with Authority.opened(site, now, passphrase=passphrase, check=check) as authority:
        authority.ensure(scope, days, **known)
        kept = certificate_requests.keep_clients(authority, clients or {}, client_days, days, anew)
    if warnings is not None:
        warnings += authority.warnings
    return authority.reasons, kept


def request(
    scope: Scope = SCOPE, key: Any = None, *extensions: x509.ExtensionType, name: str = ""
) -> bytes:
    common = name or certificates.SERVER_SUBJECT
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    )
    if scope.names or scope.addresses:
        builder = builder.add_extension(scope.alternatives(), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key or certificates.make_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


def certify(
    site: Path, data: bytes, now: datetime = NOW, days: int = 90, scope: Scope = SCOPE
) -> x509.Certificate:
    with Authority.opened(site, now) as authority:
        certificate_requests.sign_host(authority, "inference", scope, data, days)
    return x509.load_pem_x509_certificate((site / "pki/hosts/inference.pem").read_bytes())


def due(
    site: Path, key: ec.EllipticCurvePrivateKey, now: datetime = NOW, days: int = 90
) -> list[str]:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with Authority.opened(site, now, check=True) as authority:
        return certificate_requests.host_due(authority, "inference", SCOPE, public, days)


def openssl(site: Path, certificate: Path, purpose: str, at: datetime = NOW) -> str:
    """Return what ``openssl verify`` objects to, '' when nothing."""
    lists = site / "lists"
    lists.write_bytes(
        (site / "pki/root.crl").read_bytes() + (site / "pki/issuing.crl").read_bytes()
    )
    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", str(lists)),
            *("-attime", str(int(at.timestamp())), "-purpose", purpose),
            *("-CAfile", str(site / "pki/ca.pem"), "-untrusted", str(site / "pki/issuing.pem")),
            str(certificate),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


def revoke(site: Path, name: str, now: datetime = NOW) -> tuple[list[str], dict[str, Any]]:
    with Authority.opened(site, now) as authority:
        said = ActionModule._revoked(authority, SCOPE, {"revoke": name, "days": 90, "placed": {}})
    return authority.reasons, said


def listed(site: Path) -> set[int]:
    crl = x509.load_pem_x509_crl((site / "pki/issuing.crl").read_bytes())
    return {entry.serial_number for entry in crl}
