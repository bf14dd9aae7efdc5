# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys

from .conftest import (
    SETTINGS,
    House,
    Runtime,
    begin_stream,
    eventually,
    reply,
    reply_raw,
    send_chunk,
)

EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
LAST = (
    b"data: "
    + json.dumps({"choices": [], "usage": USAGE, "timings": {"cache_n": 5}}).encode()
    + b"\n\ndata: [DONE]\n\n"
)


def code(answer: tuple[int, dict]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


# -- who may ask -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_health_needs_no_key_and_reveals_nothing(house: House, path: str) -> None:
    assert house.ask("GET", path) == (200, {"status": "ok"})


def test_without_a_good_key_there_is_no_answer(house: House) -> None:
    assert code(house.ask()) == (401, "no_key")
    assert code(house.ask(key="aik_alice_" + "A" * 43)) == (401, "unknown_key")
    assert code(house.ask(key=house.key.replace("alice", "bob"))) == (401, "unknown_key")
    assert code(house.ask(key="' OR 1=1 --")) == (401, "unknown_key")
    assert code(house.ask(key=house.expired)) == (401, "expired_key")
    assert code(house.ask(headers={"Authorization": f"Basic {house.key}"})) == (401, "unknown_key")
    assert house.runtime.requests == []


def test_every_header_takes_the_key_and_two_keys_are_refused(house: House) -> None:
    for name in ("X-API-Key", "api-key"):
        assert house.ask(headers={name: house.key})[0] == 200
    assert code(house.ask(key=house.key, headers={"x-api-key": house.other})) == (
        400,
        "two_credentials",
    )


def test_a_key_sees_and_uses_its_own_services_only(house: House) -> None:
    def names(key: str) -> list[str]:
        return [entry["id"] for entry in house.ask(key=key)[1]["data"]]

    assert names(house.key) == ["chat", "embed"]
    assert names(house.other) == ["embed"]
    absent = code(house.chat(model="nothing"))
    assert code(house.chat(model="secret")) == absent == (404, "model_not_found")
    assert code(house.chat(key=house.other)) == absent
    assert code(house.chat(model="embed")) == (400, "wrong_mode")


@pytest.mark.parametrize(
    "path", ["/slots", "/props", "/metrics", "/api/pull", "/v1/../slots", "/v1/models?x=1"]
)
def test_unlisted_routes_do_not_exist(house: House, path: str) -> None:
    assert code(house.ask("GET", path, key=house.key)) == (404, "unknown_route")


# -- what is sent on ---------------------------------------------------------------------------


def test_the_runtime_gets_the_checked_body_and_nothing_of_the_client(house: House) -> None:
    body = b'{ "model" : "chat", "messages":[{"role":"user","content":"PROMPT"}] , "temperature" : 5e-1 }'
    headers = {"Cookie": "a=b", "X-Forwarded-For": "6.6.6.6", "User-Agent": "client"}
    status, document = house.ask(
        "POST", "/v1/chat/completions", body, key=house.key, headers=headers
    )
    assert (status, document) == (200, {"object": "answer"})
    path, received, sent = house.runtime.requests[0]
    assert path == "/v1/chat/completions"
    assert set(received) == {
        "Host",
        "Connection",
        "Content-Type",
        "Content-Length",
        "Accept-Encoding",
    }
    assert (received["Host"], received["Accept-Encoding"]) == ("runtime", "identity")
    assert sent == {
        "model": "chat",
        "messages": [{"role": "user", "content": "PROMPT"}],
        "temperature": 0.5,
        "max_tokens": 4096,
        "id_slot": 0,
        "cache_prompt": False,
    }


def test_a_refused_body_never_reaches_the_runtime(house: House) -> None:
    status, document = house.chat(grammar="root ::= x")
    assert status == 400
    assert document["error"]["param"] == "grammar"
    assert "'grammar' is not allowed" in document["error"]["message"]
    big = b'{"model":"chat","messages":"' + b"x" * 1024 * 1024 + b'"}'
    assert code(house.ask("POST", "/v1/chat/completions", big, key=house.key)) == (
        413,
        "body_too_large",
    )
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
        answer = house.ask("POST", "/v1/chat/completions", b"{}", key=house.key, headers=headers)
        assert code(answer) == (415, "unsupported_media")
    assert house.runtime.requests == []


def test_a_body_that_does_not_arrive_is_given_up(house: House) -> None:
    connection = house.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in {
        "X-API-Key": house.key,
        "Content-Type": "application/json",
        "Content-Length": "99",
    }.items():
        connection.putheader(name, value)
    connection.endheaders(b"{")
    assert connection.getresponse().status == 408


def test_a_whole_answer_is_cleaned(house: House) -> None:
    house.runtime.behave = lambda handler: reply(
        handler, {"usage": USAGE, "timings": {"cache_n": 5}}
    )
    assert house.chat() == (200, {"usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    assert (house.entries()[0]["prompt_tokens"], house.entries()[0]["completion_tokens"]) == (5, 2)


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (400, {"error": {"message": "too long"}}, (400, "backend_refused")),
        (404, {"error": "x"}, (400, "backend_refused")),
        (302, {}, (502, "backend_broken")),
        (500, {"error": {"message": "secret trace"}}, (502, "backend_broken")),
        (503, {"error": {"message": "Loading model"}}, (503, "backend_unavailable")),
        (200, ["not an object"], (502, "backend_broken")),
    ],
)
def test_what_goes_wrong_behind_is_told_in_our_words(
    house: House, status: int, document: object, expected: tuple[int, str]
) -> None:
    house.runtime.behave = lambda handler: reply(handler, document, status)
    answer = house.chat()
    assert code(answer) == expected
    assert "secret trace" not in str(answer)


def test_a_runtime_that_is_not_there_or_silent_is_said_so(house: House) -> None:
    house.place_slots("chat-2")
    assert code(house.chat()) == (503, "backend_unavailable")
    house.place_slots("chat-1")
    house.runtime.behave = lambda _handler: time.sleep(SETTINGS["idle_timeout"] + 2)
    assert code(house.chat()) == (504, "backend_timeout")


# -- streams -----------------------------------------------------------------------------------


def test_each_event_leaves_before_the_next_one_exists(house: House) -> None:
    seen = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        assert seen.wait(5), "the first event was held back"
        send_chunk(handler, LAST)
        send_chunk(handler, b"")

    house.runtime.behave = behave
    response = house.stream()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.readline() + response.readline() == EVENT
    seen.set()
    rest = response.read()
    assert b"cached_tokens" not in rest
    assert b"timings" not in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    assert eventually(lambda: len(house.entries()) == 1)
    entry = house.entries()[0]
    assert (entry["status"], entry["prompt_tokens"], entry["completion_tokens"]) == (200, 5, 2)
    assert 0 <= entry["ttft_ms"] <= entry["ms"]
    assert entry["response_bytes"] == len(EVENT) + len(rest)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_hangs_up_stops_the_runtime(house: House, streamed: bool) -> None:
    stopped = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        if streamed:
            begin_stream(handler)
            send_chunk(handler, EVENT)
        if handler.connection.recv(1) == b"":
            stopped.set()

    house.runtime.behave = behave
    connection = house.connect()
    body = json.dumps(
        {"model": "chat", "messages": [{"role": "user", "content": "x"}], "stream": streamed}
    )
    connection.request(
        "POST",
        "/v1/chat/completions",
        body,
        {"api-key": house.key, "Content-Type": "application/json"},
    )
    assert eventually(lambda: bool(house.runtime.requests))
    assert not stopped.wait(0.5)
    connection.close()
    assert stopped.wait(5), "the runtime goes on for nobody"
    assert eventually(lambda: len(house.entries()) == 1)
    assert (house.entries()[0]["status"], house.entries()[0]["reason"])[1] == "client_gone"


def test_a_stream_that_breaks_off_does_not_look_complete(house: House) -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        handler.connection.close()

    house.runtime.behave = behave
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        house.stream().read()
    assert eventually(lambda: len(house.entries()) == 1)
    assert house.entries()[0]["reason"] == "backend_broken"


# -- followed files ----------------------------------------------------------------------------


def test_a_revoked_key_is_refused_at_the_next_request(house: House) -> None:
    assert house.ask(key=house.key)[0] == 200
    house.place_keys(house.other_record)
    assert code(house.ask(key=house.key)) == (401, "unknown_key")
    assert house.ask(key=house.other)[0] == 200


def test_a_new_slot_is_followed_and_what_is_in_flight_stays(house: House) -> None:
    go_on = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        go_on.wait(5)
        send_chunk(handler, LAST)
        send_chunk(handler, b"")

    house.runtime.behave = behave
    response = house.stream()
    newer = Runtime(house.base / "run/chat-2/http.sock")
    newer.behave = lambda handler: reply(handler, {"object": "newer"})
    house.place_slots("chat-2")
    assert house.chat() == (200, {"object": "newer"})
    go_on.set()
    assert response.read().endswith(b"data: [DONE]\n\n")
    newer.close()


@pytest.mark.parametrize("name", ["keys.json", "slots.json"])
def test_a_damaged_file_closes_the_door_until_it_is_replaced(house: House, name: str) -> None:
    good = (house.config / name).read_text()
    for damaged in ("{", '{"services":{"chat":{"current":"../x","mode":"chat"}}}', "[]"):
        house.place(name, damaged)
        assert code(house.ask(key=house.key)) == (503, "not_configured")
    (house.config / name).unlink()
    assert code(house.ask(key=house.key)) == (503, "not_configured")
    house.place(name, good)
    assert house.ask(key=house.key)[0] == 200


def test_another_slot_answers_for_a_current_release_that_failed(house: House) -> None:
    entry = {"current": "chat-2", "previous": "chat-1", "mode": "chat"}
    standin = {"slot": "previous", "because": "chat-2 is damaged."}
    house.place("slots.json", {"services": {"chat": entry | {"standin": standin}}})
    assert house.chat()[0] == 200
    assert (house.entries()[-1]["release"], house.entries()[-1]["slot"]) == ("chat-1", "previous")
    house.place("slots.json", {"services": {"chat": entry | {"standin": None}}})
    assert code(house.chat()) == (503, "backend_unavailable")
    assert (house.entries()[-1]["release"], house.entries()[-1]["slot"]) == ("chat-2", "current")
    for slot in ("fallback", "canary", "next", ["previous"], None):
        house.place("slots.json", {"services": {"chat": entry | {"standin": {"slot": slot}}}})
        assert code(house.chat()) == (503, "not_configured"), slot


def test_only_the_key_of_an_evaluation_opens_a_canary(house: House) -> None:
    entry = {"current": "chat-2", "canary": "chat-1", "mode": "chat"}
    house.place("slots.json", {"services": {"chat": entry}})
    key, record = api_keys.generate(
        "0-evaluation", ["chat@canary"], days=1, now=datetime.now(timezone.utc)
    )
    assert code(house.chat(model="chat@canary")) == (404, "model_not_found")
    assert code(house.chat(model="chat@canary", key=key)) == (401, "unknown_key")
    house.place("evaluation.json", {"keys": [record.as_dict()]})
    assert house.chat(model="chat@canary", key=key)[0] == 200
    last = house.entries()[-1]
    assert (last["key"], last["service"], last["release"], last["slot"]) == (
        "0-evaluation",
        "chat@canary",
        "chat-1",
        "canary",
    )
    assert code(house.chat(key=key)) == (404, "model_not_found")
    status, listed = house.ask("GET", "/v1/models", key=house.key)
    assert (status, [item["id"] for item in listed["data"]]) == (200, ["chat"])
    (house.config / "evaluation.json").unlink()
    assert code(house.chat(model="chat@canary", key=key)) == (401, "unknown_key")


def test_a_damaged_evaluation_key_closes_the_door(house: House) -> None:
    house.place("evaluation.json", "{")
    assert code(house.chat()) == (503, "not_configured")


def test_the_key_of_an_evaluation_stands_for_no_other(house: House) -> None:
    """Who can place it cannot take the name of a key that the owner gave to somebody."""
    key, record = api_keys.generate("alice", ["chat"], days=1, now=datetime.now(timezone.utc))
    house.place("evaluation.json", {"keys": [record.as_dict()]})
    assert code(house.chat(key=key)) == (401, "unknown_key")
    assert house.chat()[0] == 200


# -- audit -------------------------------------------------------------------------------------


def test_every_request_leaves_one_line_without_secret_or_prompt(house: House) -> None:
    house.ask("GET", "/health")
    house.ask()
    house.ask("GET", f"/{house.key}", key=house.key)
    house.chat(grammar="PROMPT")
    house.chat()
    entries = house.entries()
    assert [(entry["status"], entry["reason"]) for entry in entries] == [
        (200, "ok"),
        (401, "no_key"),
        (404, "unknown_route"),
        (400, "bad_field"),
        (200, "ok"),
    ]
    assert {entry["client"] for entry in entries} == {"10.1.2.3"}
    last = entries[-1]
    assert (last["key"], last["route"], last["service"], last["release"]) == (
        "alice",
        "/v1/chat/completions",
        "chat",
        "chat-1",
    )
    assert (len(last["prompt_sha256"]), last["response_bytes"]) == (64, len(b'{"object":"answer"}'))
    text = house.audit.read_text()
    assert "PROMPT" not in text
    assert house.key[10:] not in text


# -- limits, start and stop --------------------------------------------------------------------


def test_more_than_the_allowed_number_of_requests_wait_outside(house: House) -> None:
    release = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        release.wait(5)
        reply(handler, {})

    house.runtime.behave = behave
    share = SETTINGS["max_concurrent_per_key"]
    threads = [threading.Thread(target=house.chat) for _one in range(share)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(house.runtime.requests) == share)
    assert code(house.chat()) == (429, "key_busy")
    assert code(house.chat(key=house.other)) == (404, "model_not_found")  # there is room for bob
    threads.append(threading.Thread(target=house.chat, kwargs={"key": house.third}))
    threads[-1].start()
    assert eventually(lambda: len(house.runtime.requests) == SETTINGS["max_concurrent"])
    assert code(house.chat(key=house.third)) == (429, "busy")
    assert house.ask("GET", "/health")[0] == 200
    release.set()
    for thread in threads:
        thread.join()
    assert house.chat()[0] == 200


def test_stopping_lets_a_stream_finish_and_new_clients_wait_for_the_next_process(
    house: House,
) -> None:
    go_on = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        go_on.wait(5)
        send_chunk(handler, LAST)
        send_chunk(handler, b"")

    house.runtime.behave = behave
    response = house.stream()
    old = house.process
    assert old is not None
    old.terminate()
    time.sleep(0.3)
    house.start()
    assert house.ask("GET", "/health") == (200, {"status": "ok"})
    go_on.set()
    assert response.read().endswith(b"data: [DONE]\n\n")
    assert old.wait(10) == 0


def test_an_answer_without_an_end_is_broken_off_however_busy_it_is(cold_house: House) -> None:
    cold_house.place("settings.json", {**SETTINGS, "answer_timeout": 1, "idle_timeout": 60})
    cold_house.start()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        with contextlib.suppress(OSError):
            for _again in range(200):
                send_chunk(handler, EVENT)
                time.sleep(0.05)

    cold_house.runtime.behave = behave
    began = time.monotonic()
    response = cold_house.stream()
    with contextlib.suppress(http.client.IncompleteRead):
        assert b"backend_broken" in response.read()
    assert 0.9 < time.monotonic() - began < 5
    assert eventually(lambda: len(cold_house.entries()) == 1)
    assert cold_house.entries()[0]["reason"] == "backend_broken"


def test_what_outlives_the_drain_is_broken_off_and_written_down(cold_house: House) -> None:
    cold_house.place("settings.json", {**SETTINGS, "drain_timeout": 1, "idle_timeout": 60})
    cold_house.start()
    end = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        end.wait(20)

    cold_house.runtime.behave = behave
    response = cold_house.stream()
    assert response.readline()
    began = time.monotonic()
    cold_house.stop()
    assert time.monotonic() - began < 5
    end.set()
    [entry] = cold_house.entries()
    assert (entry["status"], entry["reason"]) == (200, "gateway_stopped")
    assert entry["response_bytes"] > 0


def test_a_connection_that_is_kept_ends_with_what_is_answered_during_the_drain(
    cold_house: House,
) -> None:
    house = cold_house
    house.start()
    end = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        end.wait(20)
        send_chunk(handler, b"")

    house.runtime.behave = behave
    kept = house.connect()
    said: list[str | None] = []

    def is_closed() -> bool:
        if "close" not in said:
            kept.request("GET", "/health")
            with kept.getresponse() as answer:
                assert (answer.status, json.loads(answer.read())) == (200, {"status": "ok"})
                said.append(answer.headers.get("Connection"))
        return "close" in said

    response = house.stream()
    assert response.readline()
    assert not is_closed()
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    assert eventually(is_closed)
    end.set()
    assert house.process.wait(10) == 0


def test_an_upload_that_breaks_off_is_the_clients_doing(house: House) -> None:
    connection = house.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": "90000",
        "x-api-key": house.key,
    }.items():
        connection.putheader(name, value)
    connection.endheaders(b"{" + b" " * 20_000)
    connection.close()
    assert eventually(lambda: house.audit.exists() and house.entries())
    assert house.entries()[0]["reason"] == "client_gone"
    assert house.stop() == ""


def test_an_answer_that_nobody_expected_leaves_its_line(house: House) -> None:
    house.runtime.behave = lambda handler: reply_raw(handler, b"[" * 60_000, 400)
    assert code(house.chat()) == (400, "backend_refused")
    assert house.entries()[0]["reason"] == "backend_refused"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("settings.json", {**SETTINGS, "max_concurrent": 0}, "not a positive whole number"),
        ("settings.json", {}, "not the gatekeeper's settings"),
        ("keys.json", "{", "not valid JSON"),
        ("slots.json", {}, "names no services"),
        ("routes/llama_cpp.json", {}, "not a route catalogue"),
        ("routes/bodies.json", {}, "not the forms of bodies"),
    ],
)
def test_a_refused_configuration_is_said_once(
    cold_house: House, name: str, content: object, sentence: str
) -> None:
    cold_house.place(name, content)
    _out, err = cold_house.start().communicate(timeout=20)
    assert cold_house.process is not None
    assert cold_house.process.returncode == 78
    assert sentence in err
    assert str(cold_house.config / name) in err
    assert "Traceback" not in err


def test_without_a_socket_it_says_how_to_start_it(cold_house: House) -> None:
    _out, err = cold_house.start(sockets=()).communicate(timeout=20)
    assert "start airlock-gatekeeper.service" in err
