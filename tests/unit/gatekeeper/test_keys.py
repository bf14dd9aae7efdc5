# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys at the real gatekeeper: scopes, limits, subjects, rotation under load, revocation."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Scope

from .conftest import SETTINGS, House, begin_stream, best, eventually, reply, send_chunk

EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
NOW = datetime.now(timezone.utc)
CERTIFICATE = "ab" * 32
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "PROMPT"}]}


def code(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


def grant(house: House, key_id: str = "eve", **scope: Any) -> str:
    """Give a key with this scope in keys.json, beside those that are there."""
    key, record = api_keys.generate(key_id, ["chat"], days=1, now=NOW)
    put(house, replace(record, scope=Scope.parse({"services": ["chat"], **scope}, key_id)))
    return key


def put(house: House, record: api_keys.KeyRecord) -> None:
    """Replace the record of this id."""
    house.place_keys(*{**records(house), record.id: record}.values())


def records(house: House) -> dict[str, api_keys.KeyRecord]:
    return api_keys.load((house.config / "keys.json").read_bytes(), where="keys.json")


def ask(house: House, key: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return house.ask("POST", "/v1/chat/completions", {**CHAT, **fields}, key=key, headers=headers)


def hours(first: int, last: int) -> str:
    """Return hours of UTC relative to now."""
    edges = [f"{(datetime.now(timezone.utc).hour + edge) % 24:02}:00" for edge in (first, last)]
    return f"{'-'.join(edges)} UTC"


# -- what a key may do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "good", "bad", "refusal"),
    [
        ({}, {}, {"model": "embed"}, (404, "model_not_found")),
        ({"max_tokens": 10}, {"max_tokens": 10}, {"max_tokens": 11}, (400, "too_many_tokens")),
        (
            {"max_tokens": 10},
            {"max_completion_tokens": 10},
            {"max_completion_tokens": 11},
            (400, "too_many_tokens"),
        ),
        (
            {"tokens_per_minute": 100},
            {"max_tokens": 20},
            {"max_tokens": 60, "n": 2},
            (400, "too_many_tokens"),
        ),
        (
            {"networks": ["192.168.0.0/16", "10.0.0.0/8"]},
            {},
            {"headers": {"X-Airlock-Client": "172.16.0.1"}},
            (403, "network_not_allowed"),
        ),
        (
            {"networks": ["fd00::/8"]},
            {"headers": {"X-Airlock-Client": "fd00::1"}},
            {"headers": {"X-Airlock-Client": "unknown"}},
            (403, "network_not_allowed"),
        ),
        (
            {"certificate": CERTIFICATE},
            {"headers": {"X-Airlock-Cert": CERTIFICATE.upper()}},
            {"headers": {"X-Airlock-Cert": "cd" * 32}},
            (403, "wrong_certificate"),
        ),
        (
            {"certificate": CERTIFICATE},
            {"headers": {"X-Airlock-Cert": CERTIFICATE}},
            {},
            (403, "wrong_certificate"),
        ),
        (
            {"certificate": "alice"},
            {"headers": {"X-Airlock-Cert": CERTIFICATE, "X-Airlock-Cert-Name": "alice"}},
            {"headers": {"X-Airlock-Cert": CERTIFICATE, "X-Airlock-Cert-Name": "bob"}},
            (403, "wrong_certificate"),
        ),
        (
            {"certificate": "alice"},
            {"headers": {"X-Airlock-Cert": "cd" * 32, "X-Airlock-Cert-Name": "alice"}},
            {"headers": {"X-Airlock-Cert": CERTIFICATE}},
            (403, "wrong_certificate"),
        ),
    ],
)
def test_a_scope_lets_in_what_it_names_and_nothing_else(
    house: House,
    scope: dict[str, Any],
    good: dict[str, Any],
    bad: dict[str, Any],
    refusal: tuple[int, str],
) -> None:
    key = grant(house, **scope)
    assert ask(house, key, **good)[0] == 200
    assert code(ask(house, key, **bad)) == refusal
    assert len(house.runtime.requests) == 1
    last = house.entries()[-1]
    assert (last["key"], last["status"], last["reason"]) == ("eve", *refusal)


def test_a_key_opens_its_routes_alone(house: House) -> None:
    key = grant(house, routes=["/v1/chat/completions"])
    assert ask(house, key)[0] == 200
    assert code(house.ask(key=key)) == (403, "route_not_allowed")
    answer = house.ask("POST", "/v1/completions", {"model": "chat", "prompt": "x"}, key=key)
    assert code(answer) == (403, "route_not_allowed")


def test_a_key_is_good_during_its_hours(house: House) -> None:
    assert ask(house, grant(house, hours=hours(-1, 2)))[0] == 200
    assert code(ask(house, grant(house, hours=hours(2, 4)))) == (403, "outside_hours")


def test_an_answer_without_a_bound_gets_that_of_the_key(house: House) -> None:
    ask(house, grant(house, max_tokens=10, tokens_per_minute=100))
    ask(house, grant(house, tokens_per_minute=7))
    ask(house, grant(house, max_tokens=9000))
    sent = [body["max_tokens"] for _path, _headers, body in house.runtime.requests]
    assert sent == [10, 7, 4096]


def test_a_record_that_is_not_understood_closes_the_door(house: House) -> None:
    document = {"keys": [{**house.record.as_dict(), "netwroks": ["10.0.0.0/8"]}]}
    house.place("keys.json", document)
    assert code(house.chat()) == (503, "not_configured")
    assert "expected 'networks'" in house.stop()


# -- limits ------------------------------------------------------------------------------------


def test_requests_a_minute(house: House) -> None:
    key = grant(house, requests_per_minute=2)
    assert [ask(house, key)[0] for _one in range(2)] == [200, 200]
    connection = house.connect()
    headers = {"Content-Type": "application/json", "x-api-key": key}
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), headers)
    with connection.getresponse() as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "30")
        assert json.loads(response.read())["error"]["code"] == "requests_per_minute"
    assert house.chat()[0] == 200


def test_lists_of_models_are_requests_too(house: House) -> None:
    key = grant(house, requests_per_minute=2)
    assert [house.ask(key=key)[0] for _one in range(2)] == [200, 200]
    assert code(house.ask(key=key)) == (429, "requests_per_minute")
    assert code(ask(house, key)) == (429, "requests_per_minute")


def test_hanging_up_on_an_answer_whose_beginning_counts_the_prompt_is_not_free(
    house: House,
) -> None:
    key = grant(house, tokens_per_minute=100)
    begin = {"type": "message_start", "message": {"usage": {"input_tokens": 2, "output_tokens": 0}}}
    gone = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, b"event: message_start\ndata: %s\n\n" % json.dumps(begin).encode())
        gone.wait(10)

    house.runtime.behave = behave
    body = {**CHAT, "max_tokens": 90, "stream": True}
    connection = house.connect()
    headers = {"Content-Type": "application/json", "x-api-key": key}
    connection.request("POST", "/v1/messages", json.dumps(body), headers)
    response = connection.getresponse()
    assert b"message_start" in response.readline()
    response.close()
    connection.close()
    assert eventually(lambda: [entry["reason"] for entry in house.entries()] == ["client_gone"])
    gone.set()
    assert house.entries()[0]["prompt_tokens"] == 2
    assert code(ask(house, key, max_tokens=90)) == (429, "tokens_per_minute")


def test_tokens_a_minute_are_those_that_the_runtime_counted(house: House) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 20}
    house.runtime.behave = lambda handler: reply(handler, {"object": "x", "usage": usage})
    key = grant(house, tokens_per_minute=100)
    assert ask(house, key, max_tokens=90)[0] == 200  # 90 were taken, 50 counted
    assert ask(house, key, max_tokens=25)[0] == 200  # with the prompt's estimate; nothing is left
    assert code(ask(house, key, max_tokens=25)) == (429, "tokens_per_minute")


def test_what_the_runtime_refused_costs_nothing_and_what_broke_off_all(house: House) -> None:
    key = grant(house, tokens_per_minute=100)
    house.runtime.behave = lambda handler: reply(handler, {"error": {"message": "no"}}, 400)
    assert [code(ask(house, key, max_tokens=90)) for _one in range(2)] == [
        (400, "backend_refused")
    ] * 2

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        handler.connection.close()

    house.runtime.behave = behave
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        open_stream(house, key, max_tokens=90).read()
    assert eventually(lambda: house.entries()[-1]["reason"] == "backend_broken")
    assert code(ask(house, key, max_tokens=90)) == (429, "tokens_per_minute")


def test_requests_at_a_time(house: House) -> None:
    key = grant(house, concurrency=1)
    response, end = hold_stream(house, key)
    assert code(ask(house, key)) == (429, "key_busy")
    end.set()
    response.read()
    house.runtime.behave = lambda handler: reply(handler, {})
    assert eventually(lambda: ask(house, key)[0] == 200)


# -- people behind a shared client -------------------------------------------------------------


def test_a_shared_client_names_the_person_and_limits_are_theirs(house: House) -> None:
    key = grant(house, on_behalf=True, requests_per_minute=1)
    for header, name in (
        ("X-OpenWebUI-User-Id", "0b0e"),
        ("X-OpenWebUI-User-Email", "ann@home.arpa"),
        ("X-On-Behalf-Of", "cron-job"),
    ):
        assert ask(house, key, headers={header: name})[0] == 200
        assert house.entries()[-1]["subject"] == name
        assert code(ask(house, key, headers={header: name})) == (429, "requests_per_minute")
    assert code(ask(house, key)) == (
        429,
        "requests_per_minute",
    )  # three is all it may serve at a time
    assert ask(house, grant(house, "finn", on_behalf=True))[0] == 200
    assert (house.entries()[-1]["key"], house.entries()[-1]["subject"]) == ("finn", None)
    for _path, received, _body in house.runtime.requests:
        assert not [name for name in received if name.lower().startswith("x-")]


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "x" * 129, "<b>", "{{ x }}", "'--"])
def test_what_is_no_name_is_refused(house: House, name: str) -> None:
    key = grant(house, on_behalf=True)
    assert code(ask(house, key, headers={"X-OpenWebUI-User-Id": name})) == (400, "bad_subject")


def test_nobody_else_names_a_person(house: House) -> None:
    key = grant(house, requests_per_minute=1)
    assert ask(house, key, headers={"X-OpenWebUI-User-Id": "ann"})[0] == 200
    assert house.entries()[-1]["subject"] is None
    answer = ask(house, key, headers={"X-OpenWebUI-User-Id": "ben"})
    assert code(answer) == (429, "requests_per_minute")


def test_all_people_together_have_no_more_than_the_key(house: House) -> None:
    key = grant(house, on_behalf=True)
    held = [
        hold_stream(house, key, {"X-On-Behalf-Of": f"p{number}"})
        for number in range(SETTINGS["max_concurrent_per_key"])
    ]
    assert code(ask(house, key, headers={"X-On-Behalf-Of": "one-more"})) == (429, "key_busy")
    for _response, end in held:
        end.set()


# -- credentials -------------------------------------------------------------------------------


def test_the_same_key_twice_is_one_key_and_two_are_refused(house: House) -> None:
    forms = {
        "Authorization": f"Bearer {house.key}",
        "x-api-key": house.key,
        "api-key": house.key,
    }
    assert house.ask(headers=forms)[0] == 200
    for name, value in forms.items():
        other = value.replace(house.key, house.other)
        assert code(house.ask(headers={**forms, name: other})) == (400, "two_credentials"), name
        assert code(house.ask(headers={**forms, name: ""})) == (400, "two_credentials"), name
    basic = {"Authorization": "Basic YWxpY2U6eA=="}
    assert code(house.ask(headers=basic)) == (401, "unknown_key")
    assert code(house.ask(headers={**basic, "x-api-key": house.key})) == (400, "two_credentials")


@pytest.mark.parametrize(
    "key",
    [
        "' OR '1'='1",
        "aik_alice'--_" + "A" * 43,
        "aik_../../etc/passwd_" + "A" * 43,
        "{{ lookup('pipe','id') }}",
        "*",
        "null",
        '{"$ne": ""}',
        "aik_alice_" + "%00" * 14 + "A",
        "A" * 8000,
    ],
)
def test_an_injection_is_an_unknown_key(house: House, key: str) -> None:
    for name in ("x-api-key", "api-key"):
        assert code(house.ask(headers={name: key})) == (401, "unknown_key")


# -- rotation and revocation -------------------------------------------------------------------


def rotated(record: api_keys.KeyRecord, seconds: float) -> tuple[str, api_keys.KeyRecord]:
    now = datetime.now(timezone.utc)
    key, new = api_keys.generate(record.id, record.scope.services, days=1, now=now)
    until = api_keys.format_time(now + timedelta(seconds=seconds))
    return key, replace(new, scope=record.scope, retiring=api_keys.Retiring(record.sha256, until))


def test_a_rotation_under_load_refuses_nobody(house: House) -> None:
    keys = [house.key]
    statuses: list[int] = []
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            statuses.append(house.ask(key=keys[-1])[0])

    def more(count: int) -> bool:
        wanted = len(statuses) + count
        return eventually(lambda: len(statuses) >= wanted, 30)

    threads = [threading.Thread(target=client) for _one in range(3)]
    for thread in threads:
        thread.start()
    for _rotation in range(6):
        key, record = rotated(records(house)["alice"], 60)
        put(house, record)
        assert more(30)  # with the key before
        keys.append(key)
        assert more(30)
    done.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}
    print(f"{len(statuses)} requests during 6 rotations: no 401")


def test_the_key_before_a_rotation_is_refused_when_the_overlap_is_over(house: House) -> None:
    # Ends are whole seconds: of these three at least two are left for both requests.
    new, record = rotated(house.record, 3)
    put(house, record)
    assert [house.ask(key=key)[0] for key in (house.key, new)] == [200, 200]
    assert eventually(lambda: house.ask(key=house.key)[0] == 401, 10)
    assert code(house.ask(key=house.key)) == (401, "expired_key")
    assert house.ask(key=new)[0] == 200


def test_a_revoked_key_is_refused_within_a_second(house: House) -> None:
    revoked = replace(house.record, revoked=api_keys.format_time(NOW))

    def trial() -> float:
        put(house, house.record)
        assert eventually(lambda: house.chat()[0] == 200)
        began = time.monotonic()
        put(house, revoked)
        assert eventually(lambda: house.chat()[0] == 401)
        took = time.monotonic() - began
        assert code(house.chat()) == (401, "revoked_key")
        return took

    took = best(trial)
    assert took < 1
    print(f"revoked: refused after {took:.3f} s")


@pytest.mark.parametrize(
    "change",
    ["revoked", "removed", "expired", "rotated", "narrowed", "service", "route", "broken"],
)
def test_an_open_stream_ends_with_its_key(house: House, change: str) -> None:
    reasons = {
        "revoked": "revoked_key",
        "removed": "unknown_key",
        "narrowed": "network_not_allowed",
        "service": "model_not_allowed",
        "route": "route_not_allowed",
        "broken": "not_configured",
    }
    keys = (house.config / "keys.json").read_text()

    def cut() -> list[str]:
        """Return why answers that had begun did not end well."""
        done = house.entries()
        return [one["reason"] for one in done if one["status"] == 200 and one["reason"] != "ok"]

    def trial() -> float:
        before = len(cut())
        response, end = hold_stream(house, house.key)
        record = house.record
        began = time.monotonic()
        if change == "revoked":
            put(house, replace(record, revoked=api_keys.format_time(NOW)))
        elif change == "removed":
            house.place_keys(house.other_record)
        elif change == "expired":
            put(house, replace(record, not_after=api_keys.format_time(NOW)))
        elif change == "rotated":
            put(house, rotated(record, 0)[1])
        elif change == "narrowed":
            put(house, replace(record, scope=replace(record.scope, networks=("10.9.0.0/16",))))
        elif change == "service":
            put(house, replace(record, scope=replace(record.scope, services=("embed",))))
        elif change == "route":
            put(house, replace(record, scope=replace(record.scope, routes=("/v1/models",))))
        else:
            house.place("keys.json", "{")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        took = time.monotonic() - began
        assert eventually(lambda: len(cut()) > before)
        assert cut()[before:] == [reasons.get(change, "expired_key")]
        end.set()
        house.place("keys.json", keys)
        assert eventually(lambda: house.ask(key=house.key)[0] == 200)
        return took

    took = best(trial)
    assert took < 1
    print(f"{change}: the stream was cut after {took:.3f} s")


def test_an_open_stream_outlives_changes_that_leave_its_key(house: House) -> None:
    response, end = hold_stream(house, house.key)
    put(house, rotated(house.record, 60)[1])
    house.place_keys(*(record for record in records(house).values() if record.id != "bob"))
    time.sleep(0.6)
    end.set()
    assert response.read().endswith(b"data: [DONE]\n\n")


def test_a_request_that_still_waits_for_its_answer_is_refused_too(house: House) -> None:
    end = threading.Event()
    house.runtime.behave = lambda _handler: end.wait(5) and None
    answers: list[tuple[int, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(house.chat()))
    thread.start()
    assert eventually(lambda: bool(house.runtime.requests))
    put(house, replace(house.record, revoked=api_keys.format_time(NOW)))
    thread.join(4)  # the runtime would wait for longer
    assert [code(answer) for answer in answers] == [(401, "revoked_key")]
    end.set()


def test_no_secret_is_in_anything_that_the_gatekeeper_wrote(house: House) -> None:
    keys = [
        house.key,
        house.other,
        house.expired,
        grant(house),
        grant(house, "fay", hours=hours(2, 4)),
    ]
    for key in keys:
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"x-api-key": f"{key}x"},
            {"api-key": key},
        ):
            house.ask(headers=headers)
            ask(house, key, headers={"X-On-Behalf-Of": key})
        house.ask("GET", f"/v1/models?key={key}", key=key)
        house.ask("POST", "/v1/chat/completions", {**CHAT, key: key}, key=key)
    written = house.audit.read_text() + house.stop()
    assert len(written) > 10_000
    for key in keys:
        assert key[-43:] not in written


# -- helpers that hold a stream open -----------------------------------------------------------


def open_stream(
    house: House, key: str, headers: dict[str, str] | None = None, **fields: Any
) -> http.client.HTTPResponse:
    connection = house.connect()
    sent = {
        "Content-Type": "application/json",
        "x-api-key": key,
        "X-Airlock-Client": "10.1.2.3",
        **(headers or {}),
    }
    body = json.dumps({**CHAT, "stream": True, **fields})
    connection.request("POST", "/v1/chat/completions", body, sent)
    return connection.getresponse()


def hold_stream(
    house: House, key: str, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, threading.Event]:
    """Return a stream whose first event has come, and what lets it end."""
    end = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        end.wait(5)
        with contextlib.suppress(OSError):  # the gatekeeper has hung up
            send_chunk(handler, b"data: [DONE]\n\n")
            send_chunk(handler, b"")

    house.runtime.behave = behave
    response = open_stream(house, key, headers)
    assert response.readline() + response.readline() == EVENT
    return response, end
