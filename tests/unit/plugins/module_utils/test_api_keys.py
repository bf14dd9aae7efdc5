# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Hours, Scope

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


FULL = Scope(
    services=("chat", "embed"),
    routes=("/v1/chat/completions",),
    max_tokens=100,
    requests_per_minute=10,
    tokens_per_minute=1000,
    concurrency=2,
    hours=Hours(8 * 60, 18 * 60, "Europe/Zurich"),
    networks=("10.0.0.0/8", "fd00::/8"),
    certificate="ab" * 32,
    on_behalf=True,
    guardrail="Answer briefly.",
)


def make(key_id: str = "alice", days: int = 30) -> tuple[str, api_keys.KeyRecord]:
    return api_keys.generate(key_id, ["embed", "chat", "chat"], days=days, now=NOW)


def test_a_key_holds_256_random_bits_and_its_record_only_their_digest() -> None:
    text, record = make()
    prefix, key_id, secret = text.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("aik", "alice", 43)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert secret not in json.dumps(record.as_dict())
    assert record.scope.services == ("chat", "embed")
    assert (record.not_before, record.not_after) == ("2026-11-21T12:00:00Z", "2026-12-21T12:00:00Z")
    assert make()[0] != text


@pytest.mark.parametrize(
    ("offset", "state"),
    [
        (timedelta(minutes=-5, seconds=-1), api_keys.NOT_YET),
        (timedelta(minutes=-5), api_keys.OK),  # the clocks of two machines differ
        (timedelta(days=30, seconds=-1), api_keys.OK),
        (timedelta(days=30), api_keys.EXPIRED),
    ],
)
def test_validity_is_exact_to_the_second(offset: timedelta, state: str) -> None:
    text, record = make()
    verdict = api_keys.verify(text, {"alice": record}, NOW + offset)
    assert verdict == api_keys.Verdict(state, record)


@pytest.mark.parametrize("offset", [timedelta(-1), timedelta(0), timedelta(days=99)])
def test_a_wrong_secret_learns_nothing_about_validity(offset: timedelta) -> None:
    _text, record = make()
    other = make()[0]
    verdict = api_keys.verify(other, {"alice": record}, NOW + offset)
    assert verdict == api_keys.Verdict(api_keys.UNKNOWN, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: text.upper(),
        lambda text: text.replace("aik_", "", 1),
        lambda text: text.replace("alice", "bob"),
        lambda text: text.replace("alice", "alice' OR '1'='1"),
        lambda text: text.replace("alice", "../alice"),
        lambda text: text.replace("alice", "*"),
        lambda text: text[:-1] + "\u0661",
        lambda text: text + "\0",
        lambda text: text[:0],
        lambda text: text * 1000,
    ],
)
def test_only_the_exact_text_is_the_key(change: object) -> None:
    text, record = make()
    assert callable(change)
    assert api_keys.verify(change(text), {"alice": record}, NOW).state == api_keys.UNKNOWN


def test_another_spelling_of_the_same_bits_is_not_the_key() -> None:
    text, record = make()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 43 characters carry 258 bits: four last characters decode to the same 32 bytes.
    twin = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin[-43:] + "=") == base64.urlsafe_b64decode(text[-43:] + "=")
    assert api_keys.verify(twin, {"alice": record}, NOW).state == api_keys.UNKNOWN


@given(st.text(max_size=120))
def test_no_text_is_accepted_by_chance_or_raises(text: str) -> None:
    record = make()[1]
    assert api_keys.verify(text, {"alice": record}, NOW).state == api_keys.UNKNOWN


def test_an_empty_record_digest_never_matches_a_text_that_is_no_key() -> None:
    record = replace(make()[1], id="", sha256="0" * 64)
    assert api_keys.verify("", {"": record}, NOW).state == api_keys.UNKNOWN


@pytest.mark.parametrize("key_id", ["", "-a", "A", "a_b", "a" * 33, "é", "a\n", "a/b"])
def test_ids_that_could_be_read_otherwise_are_refused(key_id: str) -> None:
    with pytest.raises(AirlockError, match="cannot be the id"):
        make(key_id)


@pytest.mark.parametrize("days", [0, -1, 367])
def test_every_key_expires(days: int) -> None:
    with pytest.raises(AirlockError, match="must expire"):
        make(days=days)


def test_the_key_file_round_trips() -> None:
    record = make()[1]
    data = json.dumps({"keys": [record.as_dict()]}).encode()
    assert api_keys.load(data, where="keys.json") == {"alice": record}
    full = replace(
        record,
        scope=FULL,
        retiring=api_keys.Retiring("1" * 64, "2026-11-22T00:00:00Z"),
        revoked="2026-11-23T00:00:00Z",
    )
    data = json.dumps({"keys": [full.as_dict()]}).encode()
    assert api_keys.load(data, where="keys.json") == {"alice": full}


RECORD = make()[1].as_dict()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([{**RECORD, "service": 1}], "expected 'services'"),
        ([{k: v for k, v in RECORD.items() if k != "not_after"}], "'not_after' is missing"),
        ([{**RECORD, "sha256": "A" * 64}], "64 hex digits"),
        ([{**RECORD, "not_after": "2027-01-01"}], "not a time"),
        ([{**RECORD, "not_after": None}], "'not_after' is missing"),
        ([{**RECORD, "not_after": "2027-1-1T00:00:00Z"}], "not a time"),
        ([{**RECORD, "not_before": 1}], "not a time"),
        ([{**RECORD, "retiring": {"sha256": "0" * 64}}], "'until' is missing"),
        ([{**RECORD, "revoked": True}], "not a time"),
        ([{**RECORD, "max_tokens": -1}], "does not fit"),
        ([{**RECORD, "services": [1]}], "services: the value does not fit"),
        ([{**RECORD, "id": "A"}], "cannot be the id"),
        ([RECORD, RECORD], "appears twice"),
        ({"alice": RECORD}, "no list of keys"),
    ],
)
def test_a_damaged_key_file_is_refused_with_its_place(entries: object, text: str) -> None:
    with pytest.raises(AirlockError, match=text):
        api_keys.load(json.dumps({"keys": entries}).encode(), where="/etc/keys.json")
