# SPDX-License-Identifier: GPL-3.0-or-later
"""What a key opens and what it does not, through the edge, from the client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from testinfra.host import Host

from .conftest import ALICE, BOB

if TYPE_CHECKING:
    from ..conftest import Answer, Api
    from .conftest import Asked, House

KEYS = "/etc/airlock/gateway/keys.json"
TRAIL = "/var/log/airlock/audit/audit.jsonl"
AGE = """
import json, os, sys
with open(sys.argv[1], "r+") as file:
    known = json.load(file)
    (key,) = [key for key in known["keys"] if key["id"] == sys.argv[2]]
    key.update(not_before="2020-01-01T00:00:00Z", not_after="2020-01-31T00:00:00Z")
    file.seek(0)
    file.truncate()
    json.dump(known, file)
"""


def models(api: Api) -> Answer:
    return api.ask("/v1/models")


def chat(api: Api, *options: str, max_tokens: int = 2) -> Answer:
    return api.chat("Hello.", *options, max_tokens=max_tokens)


def embedding(api: Api) -> Answer:
    return api.ask("/v1/embeddings", {"model": "embed", "input": "hello"})


def verdict(answer: Answer) -> tuple[int, str]:
    """Return the status and, of a refusal, its reason."""
    assert answer.rc == 0, answer
    return answer.status, "" if answer.status == 200 else answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("key", "opens", "refuses", "reason"),
    [
        ("lists", models, chat, (403, "route_not_allowed")),
        ("embedder", embedding, chat, (404, "model_not_found")),
        (
            "short",
            lambda api: chat(api, max_tokens=8),
            lambda api: chat(api, max_tokens=9),
            (400, "too_many_tokens"),
        ),
    ],
)
def test_routes_services_and_length(
    house: House, key: str, opens: Any, refuses: Any, reason: tuple[int, str]
) -> None:
    assert verdict(opens(house.door(key))) == (200, "")
    assert verdict(refuses(house.door(key))) == reason
    assert verdict(refuses(house.door("everything"))) == (200, ""), "it is the key that refuses"


def test_who_names_no_length_gets_no_more_than_the_key_may(house: House) -> None:
    answer = house.door("short").chat("Tell a story.", logit_bias={"2": -100}).json()
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_key_lists_what_it_opens(house: House) -> None:
    assert [model["id"] for model in models(house.door("embedder")).json()["data"]] == ["embed"]


def test_networks(house: House, tmp_path: Path) -> None:
    elsewhere = (403, "network_not_allowed")
    assert verdict(models(house.door("near"))) == (200, "")
    assert verdict(models(house.door("far"))) == elsewhere
    assert verdict(models(house.door_from_here("far", tmp_path))) == (200, "")
    assert verdict(models(house.door_from_here("near", tmp_path))) == elsewhere


def test_an_address_that_a_client_names_is_not_its_own(
    house: House, intent: dict[str, Any]
) -> None:
    address = intent["airlock_admin_networks"][0].partition("/")[0]
    for header in ("X-Airlock-Client", "X-Forwarded-For", "X-Real-IP", "Forwarded"):
        answer = house.door("far").ask("/v1/models", None, "--header", f"{header}: {address}")
        assert verdict(answer) == (403, "network_not_allowed")


def test_hours(house: House) -> None:
    assert verdict(models(house.door("now"))) == (200, "")
    assert verdict(models(house.door("later"))) == (403, "outside_hours")


def test_a_bound_certificate(house: House) -> None:
    assert verdict(models(house.door("alices", ALICE))) == (200, "")
    assert verdict(models(house.door("bobs", BOB))) == (200, "")
    assert verdict(models(house.door("bobs", ALICE))) == (403, "wrong_certificate")
    named = ("--header", f"X-Airlock-Cert-Name: {BOB}")
    answer = house.door("bobs", ALICE).ask("/v1/models", None, *named)
    assert verdict(answer) == (403, "wrong_certificate")


def test_requests_a_minute(house: House) -> None:
    answers = [models(house.door("seldom")) for _one in range(3)]
    assert [verdict(answer) for answer in answers] == [
        (200, ""),
        (200, ""),
        (429, "requests_per_minute"),
    ]


def test_tokens_a_minute(house: House) -> None:
    api = house.door("frugal")
    assert verdict(chat(api, max_tokens=61)) == (400, "too_many_tokens")
    assert verdict(api.chat("Tell a story.", max_tokens=60, logit_bias={"2": -100})) == (200, "")
    late = chat(api, "--include", max_tokens=60)
    assert late.status == 429
    assert "tokens_per_minute" in late.text
    assert "retry-after: " in late.text.lower()


def test_requests_at_a_time(house: House) -> None:
    with house.load("single") as asked:
        time.sleep(4)
    streams = [request for request in asked if (request.way, request.outcome) == ("stream", "200")]

    def during(stream: Asked, moment: float) -> bool:
        # The client's clock is not that of the house: the longer a busy machine takes, the more they are apart.
        margin = min(2.0, max(0.2, (stream.ended - stream.began) / 4))
        return stream.began + margin < moment < stream.ended - margin

    meanwhile = [
        request.outcome
        for request in asked
        for stream in streams
        if request.way == "regular" and during(stream, request.began)
    ]
    assert set(meanwhile) == {"429"}


def last_record(host: Host, key: str) -> dict[str, Any]:
    lines = host.check_output("tail --lines=40 %s", TRAIL).splitlines()
    found = [json.loads(line) for line in lines]
    return [line for line in found if line["kind"] == "done" and line["key"] == key][-1]


def test_on_behalf_of_somebody(house: House, inference: Host) -> None:
    def ask(key: str, person: str) -> tuple[int, str]:
        return verdict(
            house.door(key).ask("/v1/models", None, "--header", f"X-OpenWebUI-User-Id: {person}")
        )

    assert [ask("shared", "ann") for _one in range(3)] == [
        (200, ""),
        (200, ""),
        (429, "requests_per_minute"),
    ]
    assert last_record(inference, "shared")["subject"] == "ann"
    assert ask("shared", "ben") == (200, ""), "whose minute is his own"
    assert last_record(inference, "shared")["subject"] == "ben"
    assert ask("shared", "no/name") == (400, "bad_subject")
    # From another key it is neither believed nor judged.
    assert ask("everything", "no/name") == (200, "")
    assert last_record(inference, "everything").get("subject") is None
    persons = [ask("seldom", person)[0] for person in ("ann", "ben", "cat")]
    assert 429 in persons, "whom it names gives it no more a minute"


@pytest.fixture
def aged(inference: Host) -> Iterator[str]:
    """Return a key that the host believes to have ended; that takes a day otherwise."""
    key = "over"
    inference.check_output("cp --archive %s /root/keys.json", KEYS)
    inference.check_output("python3 -c %s %s %s", AGE, KEYS, key)
    yield key
    inference.check_output("mv /root/keys.json %s", KEYS)


def test_a_key_that_has_expired(house: House, aged: str) -> None:
    assert verdict(models(house.door(aged))) == (401, "expired_key")
    assert verdict(models(house.door("everything"))) == (200, "")


def test_a_key_that_has_not_expired(house: House) -> None:
    assert verdict(models(house.door("over"))) == (200, "")
