# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.homelab.airlock.plugins.action.authority import ActionModule
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    certificates,
    provided_certificate,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import pem
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
NAMES = ["ai.home.arpa", "chat.home.arpa"]
ROOT = certificates.make_root(NOW)
ISSUING = certificates.make_issuing(ROOT, certificates.make_key(), Scope.of(NAMES, []), NOW)
KEY = certificates.make_key()


def chain(names: list[str], *, order: str = "leaf issuing root") -> bytes:
    leaf = certificates.make_leaf(
        ISSUING,
        KEY.public_key(),
        "x",
        NOW + timedelta(days=30),
        NOW,
        server=Scope.of(names, []),
    )
    parts = {"leaf": leaf, "issuing": ISSUING.certificate, "root": ROOT.certificate}
    return b"".join(parts[name].public_bytes(Encoding.PEM) for name in order.split())


def made(issuer: certificates.Identity, begin: datetime, end: datetime, *usages: str) -> bytes:
    """Return a certificate for KEY and NAMES as some program makes it, with ``usages`` for TLS."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(Scope.of(NAMES, []).alternatives(), critical=True)
    )
    if usages:
        oids = [getattr(ExtendedKeyUsageOID, name) for name in usages]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)


# The last arc of P-256, and one that names no curve.
P256, NO_CURVE = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")


def unknown(data: bytes) -> bytes:
    """Return the first part of PEM with its key on a curve that nobody knows."""
    begin, text, end = re.findall(
        rb"(-{5}BEGIN .*?-{5}\n)(.*?)(-{5}END .*?-{5}\n)", data, re.DOTALL
    )[0]
    der = base64.b64decode(text)
    assert P256 in der
    return bytes(begin + base64.encodebytes(der.replace(P256, NO_CURVE)) + end)


def of(*identities: certificates.Identity) -> bytes:
    return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in identities)


def check(
    data: bytes, key: bytes = pem(KEY), now: datetime = NOW, authority: bytes = b""
) -> datetime:
    return provided_certificate.check(data, key, NAMES, now, authority).until


def test_one_that_fits_is_taken() -> None:
    assert check(chain(NAMES)) == NOW + timedelta(days=30)
    assert check(chain(NAMES, order="leaf")) == NOW + timedelta(days=30)
    assert check(chain(["*.home.arpa"]))


def test_only_certificates_are_handed_on() -> None:
    """HAProxy takes certificate, chain and key in one file, and so people have it in one."""
    leaf, rest = chain(NAMES, order="leaf"), chain(NAMES, order="issuing root")
    combined = b"Bag Attributes\n" + leaf + pem(KEY) + b"a remark\n" + rest
    found = provided_certificate.check(combined, combined, NAMES, NOW)
    assert found.chain == leaf + rest


MONTH = timedelta(days=30)
ANOTHER = certificates.make_root(NOW)
ENDED = certificates.make_issuing(
    ROOT, certificates.make_key(), Scope.of(NAMES, []), NOW - timedelta(days=1000)
)
ENDED_ROOT = certificates.make_root(NOW - timedelta(days=9999))


@pytest.mark.parametrize(
    ("data", "authority"),
    [
        (chain(NAMES), of(ROOT)),  # the root itself is in the chain
        (chain(NAMES, order="leaf issuing"), of(ROOT)),
        (chain(NAMES, order="leaf issuing"), of(ANOTHER, ROOT)),
        (made(ROOT, NOW, NOW + MONTH), of(ROOT)),
        (made(ROOT, NOW, NOW + MONTH, "CLIENT_AUTH", "SERVER_AUTH"), b""),
    ],
)
def test_one_that_clients_accept_is_taken(data: bytes, authority: bytes) -> None:
    assert check(data, authority=authority) == NOW + MONTH


@pytest.mark.parametrize(
    ("data", "authority", "sentence"),
    [
        (made(ROOT, NOW, NOW + MONTH, "CLIENT_AUTH"), b"", "is not for servers"),
        (made(ENDED, NOW, NOW + MONTH) + of(ENDED), b"", "CN=airlock issuing .* not valid now"),
        (chain(NAMES), of(ANOTHER), "leads to none of the authorities"),
        (chain(NAMES, order="leaf"), of(ROOT), "leads to none of the authorities"),
        (made(ENDED_ROOT, NOW, NOW + MONTH), of(ENDED_ROOT), "CN=airlock root .* not valid now"),
        (chain(NAMES), b"nonsense", "pki_provided_authority: this is no certificate"),
    ],
)
def test_one_that_no_client_accepts_is_refused(
    data: bytes, authority: bytes, sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        check(data, authority=authority)


@pytest.mark.parametrize(
    ("data", "key", "when", "sentence"),
    [
        (b"nonsense", pem(KEY), NOW, "this is no certificate"),
        (unknown(chain(NAMES)), pem(KEY), NOW, "the key in a certificate cannot be read"),
        (chain(NAMES), unknown(pem(KEY)), NOW, "this is no private key"),
        (chain(NAMES, order="leaf root"), pem(KEY), NOW, "the chain is out of order"),
        (chain(NAMES, order="issuing leaf"), pem(KEY), NOW, "the chain is out of order"),
        (chain(NAMES), b"nonsense", NOW, "this is no private key"),
        (chain(NAMES), pem(KEY, "secret"), NOW, "without a passphrase"),
        (chain(NAMES), pem(certificates.make_key()), NOW, "not that of the certificate"),
        (chain(NAMES), pem(KEY), NOW + timedelta(days=31), "is not valid now"),
        (chain(NAMES), pem(KEY), NOW - timedelta(days=1), "is not valid now"),
        (chain(["ai.home.arpa"]), pem(KEY), NOW, "expected chat.home.arpa, found ai.home.arpa"),
        (chain(["*.arpa"]), pem(KEY), NOW, "is for other names"),
    ],
)
def test_one_that_does_not_is_refused(
    data: bytes, key: bytes, when: datetime, sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        check(data, key, when)


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_one_that_is_not_named_is_asked_for(tmp_path: Path, missing: str) -> None:
    (tmp_path / "both.pem").write_bytes(chain(NAMES) + pem(KEY))
    paths = {"certificate": str(tmp_path / "both.pem"), "key": str(tmp_path / "both.pem")}
    wanted = {"names": NAMES, "authority": "", **paths, missing: ""}
    with pytest.raises(AirlockError, match=f"expected a path in pki_provided_{missing}"):
        ActionModule._provided(wanted, NOW)
