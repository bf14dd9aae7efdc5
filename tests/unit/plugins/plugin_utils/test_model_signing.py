# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of the integration target were made by model-signing 1.1.1 over three small files; the others here."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_signing
from ansible_collections.homelab.airlock.tests.unit.plugins.plugin_utils import publisher

REAL = Path(__file__).parents[3] / "integration" / "targets" / "model_signature" / "files" / "oms"
REAL_FILES = {
    "README.md": hashlib.sha256(b"A small model.\n").hexdigest(),
    "config.json": hashlib.sha256(b"{}").hexdigest(),
    "weights/model.safetensors": hashlib.sha256(b"weights").hexdigest(),
}
SUMMER = datetime.datetime(2026, 7, 1)
SOMEBODY = "release@models.example"
KEY = publisher.key()


def by_key(bundle: Any, key: bytes | None = None) -> model_signing.Signed:
    data = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return model_signing.by_key(data, key or publisher.pem(KEY), "here")


def test_a_bundle_of_the_real_tool_is_accepted() -> None:
    signed = by_key((REAL / "key.sig.json").read_bytes(), (REAL / "key.pub").read_bytes())
    assert signed.files == REAL_FILES
    model_signing.refuse_difference(signed, REAL_FILES, "here")


@pytest.mark.parametrize("identity", [SOMEBODY, "CN=publisher"])
def test_a_bundle_of_the_real_tool_with_a_certificate_is_accepted(identity: str) -> None:
    signed = model_signing.by_certificate(
        (REAL / "certificate.sig.json").read_bytes(),
        (REAL / "ca.pem").read_bytes(),
        identity,
        SUMMER,
        "here",
    )
    assert signed.files == REAL_FILES


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_every_curve_of_the_format(curve: ec.EllipticCurve) -> None:
    key = publisher.key(curve)
    assert by_key(publisher.bundle(key), publisher.pem(key)).files == publisher.FILES


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({**REAL_FILES, ".git/config": "0" * 64}, r"\.git/config: expected no such file"),
        ({**REAL_FILES, ".gitattributes": "0" * 64}, r"\.gitattributes: expected no such file"),
        ({"README.md": REAL_FILES["README.md"]}, "config.json: expected sha256"),
        ({**REAL_FILES, "README.md": "0" * 64}, "README.md: expected sha256"),
        (
            {**{k: v for k, v in REAL_FILES.items() if k != "README.md"}, "readme.md": "0" * 64},
            "README.md",
        ),
    ],
)
def test_the_files_are_the_signed_ones_and_no_others(files: dict[str, str], sentence: str) -> None:
    signed = by_key((REAL / "key.sig.json").read_bytes(), (REAL / "key.pub").read_bytes())
    with pytest.raises(AirlockError, match=sentence):
        model_signing.refuse_difference(signed, files, "here")


def test_the_signature_of_another_key_is_refused() -> None:
    with pytest.raises(AirlockError, match="not made by the publisher"):
        by_key(publisher.bundle(publisher.key()))


def test_a_payload_that_was_changed_is_refused() -> None:
    bundle = publisher.bundle(KEY)
    other = publisher.bundle(publisher.key(), publisher.statement({"x": "c" * 64}))
    bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    with pytest.raises(AirlockError, match="not made by the publisher"):
        by_key(bundle)


def test_keys_of_other_kinds_are_refused() -> None:
    odd = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(AirlockError, match="of another kind: expected an EC key on P-256"):
        by_key(publisher.bundle(KEY), publisher.pem(odd))
    with pytest.raises(AirlockError, match="of another kind"):
        by_key(publisher.bundle(KEY), publisher.pem(publisher.key(ec.SECP256K1())))
    with pytest.raises(AirlockError, match="key cannot be read"):
        by_key(publisher.bundle(KEY), b"-----BEGIN NOTHING-----")


def changed(predicate: dict[str, Any], **serialization_of: Any) -> dict[str, Any]:
    whole = publisher.statement()["predicate"]
    merged = {**whole, **predicate}
    merged["serialization"] = {**merged["serialization"], **serialization_of}
    return merged


def resource(name: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "algorithm": "sha256", "digest": "a" * 64, **more}


@pytest.mark.parametrize(
    ("signed", "sentence"),
    [
        ([], "not a mapping"),
        (publisher.statement(_type="https://in-toto.io/Statement/v0.1"), "_type: the value is"),
        (publisher.statement(predicateType="https://slsa.dev/provenance/v1"), "predicateType"),
        (publisher.statement(subject=[]), "one subject"),
        (publisher.statement(subject=publisher.statement()["subject"] * 2), "one subject"),
        (
            publisher.statement(subject=[{"name": "m", "digest": {"sha256": "0" * 64}}]),
            "does not have the digest that was signed with it",
        ),
        (publisher.statement(more=1), "the key 'more' is unknown"),
        (publisher.statement(predicate=None), "not a mapping"),
        (publisher.statement(predicate=changed({}, method="shards")), "method: the value is"),
        (publisher.statement(predicate=changed({}, hash_type="blake3")), "hash_type: the value"),
        (publisher.statement(predicate=changed({"resources": []})), "no proper list"),
        (publisher.statement(predicate=changed({"resources": "x"})), "no proper list"),
        (
            publisher.statement(predicate=changed({"resources": [resource("a")] * 1001})),
            "no proper list",
        ),
        *(
            (publisher.statement(predicate=changed({"resources": [resource(name)]})), words)
            for name, words in (
                ("../up", "path does not fit"),
                ("/root", "path does not fit"),
                ("a//b", "path does not fit"),
                ("a\0b", "path does not fit"),
                ("", "path does not fit"),
                (7, "path does not fit"),
                ("u\u0308", "path does not fit"),
            )
        ),
        (
            publisher.statement(predicate=changed({"resources": [resource("a"), resource("A")]})),
            "appears twice",
        ),
        (
            publisher.statement(predicate=changed({"resources": [resource("a", algorithm="md5")]})),
            "algorithm: the value is unknown",
        ),
        (
            publisher.statement(predicate=changed({"resources": [resource("a", digest="AB")]})),
            "not a SHA-256",
        ),
    ],
)
def test_a_statement_that_is_signed_and_not_well_formed_is_refused(
    signed: Any, sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        by_key(publisher.bundle(KEY, signed))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2"}, "mediaType"),
        ({"more": 1}, "the key 'more' is unknown"),
        ({"verificationMaterial": []}, "signed in another way"),
        ({"verificationMaterial": publisher.chain()}, "expected publicKey"),
        ({"dsseEnvelope": None}, "dsseEnvelope"),
        (
            {"dsseEnvelope": {"payload": "", "payloadType": "text/plain", "signatures": []}},
            "payloadType",
        ),
    ],
)
def test_a_bundle_that_is_not_well_formed_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        by_key({**publisher.bundle(KEY), **change})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"signatures": []}, "does not have one signature"),
        ({"signatures": [{"sig": "AAAA"}, {"sig": "AAAA"}]}, "does not have one signature"),
        ({"signatures": [{"sig": "not base64!"}]}, "not base64"),
        ({"signatures": [{"sig": None}]}, "'sig' is missing"),
        ({"signatures": [{"sig": "A" * 4096}]}, "too long"),
        ({"payload": 7}, "not base64"),
    ],
)
def test_an_envelope_that_is_not_well_formed_is_refused(
    change: dict[str, Any], sentence: str
) -> None:
    bundle = publisher.bundle(KEY)
    bundle["dsseEnvelope"].update(change)
    with pytest.raises(AirlockError, match=sentence):
        by_key(bundle)


def test_what_is_not_json_or_too_much_is_refused() -> None:
    for data in (b"", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000, b" " * (9 * 2**20)):
        with pytest.raises(AirlockError):
            by_key(data)


REAL_BUNDLE = (REAL / "key.sig.json").read_bytes()


@given(st.integers(0, len(REAL_BUNDLE) - 1), st.binary(max_size=3))
def test_nothing_but_a_refusal_escapes(at: int, piece: bytes) -> None:
    data = REAL_BUNDLE[:at] + piece + REAL_BUNDLE[at + len(piece) :]
    try:
        signed = by_key(data, (REAL / "key.pub").read_bytes())
    except AirlockError:
        return
    assert signed.files == REAL_FILES


# -- certificates --------------------------------------------------------------------------------

ROOT, ISSUER, LEAF = publisher.key(), publisher.key(), publisher.key()
ROOT_CERTIFICATE = publisher.certificate("root", ROOT, "root", ROOT, authority=True)
ISSUER_CERTIFICATE = publisher.certificate("issuer", ISSUER, "root", ROOT, authority=True)


def signed_by(*certificates: Any, when: datetime.datetime = SUMMER, **more: Any) -> Any:
    material = publisher.chain(*certificates, ISSUER_CERTIFICATE)
    return model_signing.by_certificate(
        json.dumps(publisher.bundle(LEAF, material=material)).encode(),
        more.get("authorities", ROOT_CERTIFICATE.public_bytes(serialization.Encoding.PEM)),
        SOMEBODY,
        when,
        "here",
    )


def leaf(name: str = "release", **more: Any) -> Any:
    return publisher.certificate(name, LEAF, "issuer", ISSUER, **more)


def test_a_chain_is_accepted() -> None:
    assert signed_by(leaf()).files == publisher.FILES
    assert signed_by(leaf(purposes=())).files == publisher.FILES


@pytest.mark.parametrize(
    ("certificate", "sentence"),
    [
        (leaf("mallory"), "signed by somebody else: expected release@models.example, found CN=mal"),
        (leaf(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "not meant for signing code"),
        (leaf(signs=False), "its key is not meant for signatures"),
        (
            publisher.certificate("release", LEAF, "issuer", ISSUER, authority=True),
            "it is an authority",
        ),
        (publisher.certificate("release", LEAF, "issuer", publisher.key()), "not one of the"),
        (publisher.certificate("release", LEAF, "release", LEAF), "not one of the authority"),
        (publisher.certificate("release", publisher.key(), "issuer", ISSUER), "not made by the"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(certificate: Any, sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        signed_by(certificate)


def test_an_old_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(verification, "ExtensionPolicy")
    with pytest.raises(AirlockError, match="newer Python package cryptography"):
        signed_by(leaf())


def test_one_who_was_certified_cannot_certify() -> None:
    mallory = publisher.certificate("release", LEAF, "release", publisher.key())
    with pytest.raises(AirlockError, match="not one of the authority"):
        signed_by(mallory, leaf())


@pytest.mark.parametrize("year", [2025, 2028])
def test_a_certificate_has_its_time(year: int) -> None:
    with pytest.raises(AirlockError, match=f"expected valid on {year}-07-01.*name in as_of"):
        signed_by(leaf(), when=datetime.datetime(year, 7, 1))


def test_an_authority_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(AirlockError, match="authority cannot be read"):
        signed_by(leaf(), authorities=b"nothing")


@pytest.mark.parametrize(
    "certificates", [None, [], [{}], [{"rawBytes": "AAAA"}], ["x"], [{"rawBytes": "AAAA"}] * 6]
)
def test_a_chain_that_is_none_is_refused(certificates: Any) -> None:
    material = {"x509CertificateChain": {"certificates": certificates}}
    data = json.dumps(publisher.bundle(LEAF, material=material)).encode()
    with pytest.raises(AirlockError):
        model_signing.by_certificate(data, b"", SOMEBODY, SUMMER, "here")


# -- what is damaged on purpose ------------------------------------------------------------------

KEY_DER = base64.b64decode(b"".join((REAL / "key.pub").read_bytes().splitlines()[1:-1]))
CA_DER = base64.b64decode(b"".join((REAL / "ca.pem").read_bytes().splitlines()[1:-1]))
CERTIFIED = json.loads((REAL / "certificate.sig.json").read_bytes())
LEAF_DER, BETWEEN_DER = (
    base64.b64decode(entry["rawBytes"])
    for entry in CERTIFIED["verificationMaterial"]["x509CertificateChain"]["certificates"]
)
P256, P256_UNKNOWN = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030105")
P384, P384_UNKNOWN = bytes.fromhex("06052b81040022"), bytes.fromhex("06052b8104007f")
VERSION_3, VERSION_6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"


def armoured(der: bytes, what: str) -> bytes:
    lines = base64.encodebytes(der).decode()
    return f"-----BEGIN {what}-----\n{lines}-----END {what}-----\n".encode()


def by_damaged_key(der: bytes) -> None:
    by_key((REAL / "key.sig.json").read_bytes(), armoured(der, "PUBLIC KEY"))


def by_chain(leaf_der: bytes, between_der: bytes, authority_der: bytes) -> None:
    raw = [{"rawBytes": base64.b64encode(der).decode()} for der in (leaf_der, between_der)]
    material = {"x509CertificateChain": {"certificates": raw}}
    data = json.dumps({**CERTIFIED, "verificationMaterial": material}).encode()
    authority = armoured(authority_der, "CERTIFICATE")
    model_signing.by_certificate(data, authority, SOMEBODY, SUMMER, "here")


def by_damaged_leaf(der: bytes) -> None:
    by_chain(der, BETWEEN_DER, CA_DER)


def by_damaged_between(der: bytes) -> None:
    by_chain(LEAF_DER, der, CA_DER)


def by_damaged_authority(der: bytes) -> None:
    by_chain(LEAF_DER, BETWEEN_DER, der)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of cryptography, which goes on after them
@pytest.mark.parametrize(
    ("good", "attempt"),
    [
        (KEY_DER, by_damaged_key),
        (LEAF_DER, by_damaged_leaf),
        (BETWEEN_DER, by_damaged_between),
        (CA_DER, by_damaged_authority),
    ],
    ids=["key", "leaf", "between", "authority"],
)
def test_nothing_but_a_refusal_escapes_from_what_is_damaged(
    good: bytes, attempt: Callable[[bytes], None]
) -> None:
    attempt(good)
    chance = random.Random(20261121)  # noqa: S311 - nothing is kept secret by it
    refused = 0
    for _round in range(2000):
        damaged = bytearray(good)
        for _round in range(chance.randint(1, 3)):
            at = chance.randrange(len(damaged))
            damaged[at] = chance.choice((chance.randrange(256), 0, 0x80, 0xFF))
        try:
            attempt(bytes(damaged))
        except AirlockError:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    ("good", "old", "new", "attempt"),
    [
        (KEY_DER, P256, P256_UNKNOWN, by_damaged_key),
        (LEAF_DER, P384, P384_UNKNOWN, by_damaged_leaf),
        (LEAF_DER, VERSION_3, VERSION_6, by_damaged_leaf),
        (BETWEEN_DER, VERSION_3, VERSION_6, by_damaged_between),
        (CA_DER, VERSION_3, VERSION_6, by_damaged_authority),
        (LEAF_DER, b"\x0c\x09publisher", b"\x0c\x09publishe\xff", by_damaged_leaf),
    ],
    ids=["curve", "curve of a leaf", "version", "version between", "version of all", "name"],
)
def test_what_is_of_another_kind_or_read_late_is_refused(
    good: bytes, old: bytes, new: bytes, attempt: Callable[[bytes], None]
) -> None:
    assert old in good
    with pytest.raises(AirlockError, match="cannot be read"):
        attempt(good.replace(old, new))
