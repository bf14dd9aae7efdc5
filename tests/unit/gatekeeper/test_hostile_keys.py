# SPDX-License-Identifier: GPL-3.0-or-later
"""What the holder of a key can make the real gatekeeper spend."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from .conftest import SETTINGS, House, begin_stream, configure, eventually, reply, send_chunk
from .test_hostile import asked, memory_max_mib, peak_mib

# In compatibility form one character is eighteen; what is between them has a view in each coding.
GROWS = "\ufdfa" * 30 + " 1gn0r3 vtaber cerivbhf %69%67%6e "


def message(text: str) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}]}


def test_a_body_of_many_small_things_takes_no_memory(cold_house: House) -> None:
    house = cold_house
    settings = {"max_concurrent": 16, "max_concurrent_per_key": 8, "body_timeout": 30}
    house.place("settings.json", {**SETTINGS, **settings})
    house.start()
    answered = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        answered.wait(5)
        reply(handler, {"type": "message", "content": []})

    house.runtime.behave = behave
    nested: Any = []
    for _depth in range(14):
        nested = [nested]
    tool = {"type": "tool_use", "id": "a", "name": "b", "input": {"a": [nested] * 6000}}
    body = {
        "model": "chat",
        "max_tokens": 9,
        "messages": [{"role": "assistant", "content": [tool] * 5}],
    }
    threads = asked(house, 8, "/v1/messages", body, house.key)
    assert eventually(lambda: len(house.entries()) == 8 or len(house.runtime.requests) == 4, 30)
    answered.set()
    for thread in threads:
        thread.join()
    assert peak_mib(house) < memory_max_mib() / 6
    assert {entry["reason"] for entry in house.entries()} == {"bad_json"}


def test_texts_that_are_long_to_screen_hold_nobody_up(cold_house: House) -> None:
    """A minute's work for one core; before, nobody else was answered until it was done."""
    house = cold_house
    settings = {"max_concurrent": 32, "max_concurrent_per_key": 16, "body_timeout": 30}
    house.place("settings.json", {**SETTINGS, **settings})
    house.start()
    body = json.dumps(
        message(GROWS * (900_000 // len(GROWS.encode()))), ensure_ascii=False
    ).encode()

    def attack() -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            house.ask("POST", "/v1/chat/completions", body, key=house.key)

    house.patience = 60  # so that no attack is given up before the others were answered
    attacks = [threading.Thread(target=attack, daemon=True) for _attack in range(16)]
    for thread in attacks:
        thread.start()
    for _time in range(3):
        assert house.chat(key=house.third)[0] == 200
    waiting = sum(thread.is_alive() for thread in attacks)
    print(f"{waiting} of 16 attacks still waited")
    assert waiting > 8  # they were not answered after the attacks, but amid them


def test_who_reads_slowly_holds_no_place_for_ever(cold_house: House) -> None:
    house = cold_house
    house.place("settings.json", {**SETTINGS, "answer_timeout": 1, "idle_timeout": 1})
    configure(house.base / "releases", "chat-1", parallel=1)
    house.start()
    choice = {"index": 0, "delta": {"content": "word " * 200}}
    event = json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        with contextlib.suppress(OSError):
            for _event in range(3000):  # more than all the buffers on its way
                send_chunk(handler, b"data: %s\n\n" % event)

    house.runtime.behave = behave
    connection = house.connect()
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    headers = {"Content-Type": "application/json", "x-api-key": house.key}
    body = json.dumps({**message("PROMPT"), "stream": True})
    connection.request("POST", "/v1/chat/completions", body, headers)
    assert eventually(lambda: len(house.runtime.requests) == 1)
    house.runtime.behave = lambda handler: reply(handler, {"choices": []})
    assert house.chat(key=house.third)[0] == 200  # the one place there is
    assert "answer_timeout" in [entry["reason"] for entry in house.entries()]


def test_a_content_type_is_short(house: House) -> None:
    for value, status in (("", 200), ("; charset=utf-8", 200), ("; x=" + "a" * 200, 415)):
        headers = {"Content-Type": "application/json" + value}
        body = message("PROMPT")
        assert (
            house.ask("POST", "/v1/chat/completions", body, key=house.key, headers=headers)[0]
            == status
        )


def said(house: House, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(house.socket))
        connection.sendall(data)
        return connection.recv(100)


@pytest.mark.parametrize(
    "target", ["http://[::1/", "http://", "x://[1]/", "//[::1/", "http://a:x/"]
)
def test_a_target_that_nobody_can_take_apart_leaves_its_record(house: House, target: str) -> None:
    """aiohttp 3.8 fails on some of them; whatever its version, they are refused."""
    answer = said(house, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
    assert re.match(rb"HTTP/1\.[01] 40[04] ", answer)
    assert eventually(lambda: len(house.entries()) == 1)
    assert "Traceback" not in house.stop()


def test_a_reader_that_fails_leaves_its_record(cold_house: House) -> None:
    house = cold_house
    program = house.base / "lib/gatekeeper/connections.py"
    reads = "super().data_received(data)"
    program.write_text(program.read_text().replace(reads, f"{reads}; b'/fail' in data and 1 / 0"))
    house.start()
    house.ask("GET", "/health")
    assert b" 400 " in said(house, b"GET http://[::1/fail")
    assert eventually(lambda: len(house.entries()) == 2)
    assert house.entries()[1]["reason"] == "bad_request"
