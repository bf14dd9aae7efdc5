# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import signing

KEY = Ed25519PrivateKey.generate()
DOCUMENT = {"serial": 1, "lineage": "one"}
NAME = "models.lock.json"


def verify(document: Any, envelope: Any, key: Ed25519PrivateKey = KEY, name: str = NAME) -> None:
    signing.verify(document, envelope, key.public_key(), name=name, where="here")


def signed(key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    return signing.sign(DOCUMENT, key, name=NAME)


def test_what_was_signed_is_accepted_and_nothing_else() -> None:
    verify(DOCUMENT, signed())
    assert signed() == signed()
    with pytest.raises(AirlockError, match=r"models\.lock\.json is not what was signed"):
        verify({**DOCUMENT, "serial": 2}, signed())
    with pytest.raises(AirlockError, match="other is not what was signed"):
        verify(DOCUMENT, signed(), name="other")
    with pytest.raises(AirlockError, match="not made by the signing key of this site"):
        verify(DOCUMENT, signed(key=Ed25519PrivateKey.generate()))


def test_an_envelope_is_what_other_tools_read() -> None:
    envelope = signed()
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert envelope["signatures"][0]["keyid"] == signing.key_id(KEY.public_key())
    payload = base64.b64decode(envelope["payload"])
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), encoded)


@given(st.data())
def test_nothing_but_a_refusal_escapes(data: st.DataObject) -> None:
    good = json.dumps(signed())
    at = data.draw(st.integers(0, len(good) - 1))
    text = good[:at] + data.draw(st.text(max_size=2)) + good[at + 1 :]
    try:
        envelope = json.loads(text)
    except ValueError:
        return
    try:
        verify(DOCUMENT, envelope)
    except AirlockError:
        return
    # What is not under the signature: how it is written, and the hint at the key.
    assert {**envelope, "signatures": None} == {**signed(), "signatures": None}


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_the_key_is_made_once(tmp_path: Path, passphrase: str) -> None:
    directory = tmp_path / "state"
    signing.load_or_make(directory, passphrase, check=True)
    assert not directory.exists()
    made = signing.load_or_make(directory, passphrase)
    path = directory / signing.KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert (b"ENCRYPTED" in before) is bool(passphrase)
    again = signing.load_or_make(directory, passphrase)
    assert signing.key_id(again.public_key()) == signing.key_id(made.public_key())
    assert path.read_bytes() == before


def test_a_key_in_the_clear_is_encrypted_when_there_is_a_passphrase(tmp_path: Path) -> None:
    plain = signing.load_or_make(tmp_path)
    encrypted = signing.load_or_make(tmp_path, "open sesame")
    assert b"ENCRYPTED" in (tmp_path / signing.KEY_FILE).read_bytes()
    assert signing.key_id(plain.public_key()) == signing.key_id(encrypted.public_key())
    with pytest.raises(AirlockError, match="is encrypted; set airlock_signing_passphrase"):
        signing.load_or_make(tmp_path)
    with pytest.raises(AirlockError, match=r"cannot be read.*correct the passphrase"):
        signing.load_or_make(tmp_path, "open says me")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    signing.load_or_make(tmp_path)
    (tmp_path / signing.KEY_FILE).chmod(0o640)
    with pytest.raises(AirlockError, match=r"others can read the signing key.*found mode 0640"):
        signing.load_or_make(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / signing.KEY_FILE
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for data, sentence in ((other, "of another kind"), (b"x", "cannot be read")):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(AirlockError, match=sentence):
            signing.load_or_make(tmp_path)
