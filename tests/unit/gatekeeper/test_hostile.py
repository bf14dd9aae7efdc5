# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runtime that was taken over can make the real gatekeeper spend."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from .conftest import (
    SETTINGS,
    House,
    Runtime,
    begin_stream,
    best,
    eventually,
    reply,
    reply_raw,
    send_chunk,
)

UNIT = Path(__file__).parents[3] / "roles/gateway/templates/airlock-gatekeeper.service.j2"
MIB = 1024 * 1024


def message(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [choice]}, ensure_ascii=False).encode()


def filled(piece: bytes, size: int) -> bytes:
    return b'{"choices":[' + piece * (size // len(piece)) + b"{}]}"


# 4 MiB are read of a text, 2^17 values of any answer; what is larger is refused unread.
HOSTILE = {
    "too large": message("a" * 12 * MIB),
    "too many objects": filled(b"{},", 4 * MIB - 200),
    "as many as may be": filled(b'{"a":1},', 8 * 43_000),
    "names": b'{"choices":[{"' + b'":1,"'.join(b"%x" % n for n in range(120_000)) + b'":1}]}',
    "wide characters": message("\N{KEY}" + "a" * (4 * MIB - 200)),
    "slow to search": message("]:" * (MIB // 16)),
    "all to be masked": message("\x7f" * (MIB // 4)),
}


def sends(data: bytes) -> Any:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):  # the gatekeeper need not read all of it
            reply_raw(handler, data, 200)

    return behave


def peak_mib(house: House) -> float:
    assert house.process is not None
    status = Path(f"/proc/{house.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def memory_max_mib() -> int:
    return int(re.search(r"MemoryMax=(\d+)M", UNIT.read_text())[1])  # type: ignore[index]


def asked(house: House, times: int, path: str, body: Any, key: str) -> list[threading.Thread]:
    """Ask that often at once; what is answered is nobody's business here."""

    def ask() -> None:
        connection = house.connect()
        connection.timeout = 120
        connection.request("POST", path, json.dumps(body), {
            "Authorization": f"Bearer {key}", "Content-Type": "application/json",
        })  # fmt: skip
        connection.getresponse().read()

    threads = [threading.Thread(target=ask, daemon=True) for _time in range(times)]
    for thread in threads:
        thread.start()
    return threads


def worst_health_seconds(house: House, threads: list[threading.Thread]) -> float:
    """Ask for something else until the threads are done; return the longest wait."""
    worst = 0.0
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert house.ask("GET", "/health")[0] == 200
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.02)
    return worst


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_costs_bounded_memory_and_nobody_else_waits(cold_house: House, name: str) -> None:
    house = cold_house
    house.place("settings.json", {**SETTINGS, "max_concurrent_per_key": 4, "idle_timeout": 60})
    house.start()
    house.ask("GET", "/health")
    house.runtime.behave = sends(HOSTILE[name])
    body = {"model": "chat", "messages": [{"role": "user", "content": "PROMPT"}]}
    worst = best(
        lambda: worst_health_seconds(
            house, asked(house, 4, "/v1/chat/completions", body, house.key)
        )
    )
    print(f"{name}: somebody else waited {worst * 1000:.0f} ms, {peak_mib(house):.0f} MiB at most")
    assert worst < 1  # a tenth of it on an idle machine
    assert peak_mib(house) < memory_max_mib() / 6


def test_vectors_may_be_as_large_as_they_are_and_no_larger(cold_house: House) -> None:
    house = cold_house
    house.place("settings.json", {**SETTINGS, "idle_timeout": 60})
    house.start()
    embed = Runtime(house.base / "run/embed-1/http.sock")

    def vectors(count: int, dimensions: int) -> bytes:
        vector = [0.12345678901234567] * dimensions
        data = [{"object": "embedding", "index": n, "embedding": vector} for n in range(count)]
        return json.dumps({"object": "list", "data": data}).encode()

    try:
        for texts, came, want in ((256, 256, 200), (1, 1, 200), (1, 20, 502), (256, 1000, 502)):
            embed.behave = sends(vectors(came, 1024))
            body = {"model": "embed", "input": ["a"] * texts}
            status, got = house.ask("POST", "/v1/embeddings", body, key=house.other)
            assert status == want
            assert want != 200 or [len(each["embedding"]) for each in got["data"]] == [1024] * came
    finally:
        embed.close()
    assert peak_mib(house) < memory_max_mib() / 6


def event(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    document = {"object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(document, ensure_ascii=False).encode()


def without_end(piece: bytes) -> Any:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        with contextlib.suppress(OSError):
            for _time in range(65 * MIB // len(piece)):
                send_chunk(handler, piece)
            send_chunk(handler, b"data: [DONE]\n\n")
            send_chunk(handler, b"")

    return behave


@pytest.mark.parametrize("piece", [b"id: x\n" * 100_000, b"data:\n" * 100_000], ids=["id", "empty"])
def test_a_stream_of_nothing_has_an_end_too(house: House, piece: bytes) -> None:
    house.runtime.behave = without_end(piece)
    response = house.stream()
    with pytest.raises(Exception, match="Incomplete"):
        response.read()
    assert eventually(lambda: bool(house.entries()))  # it is over before its line is written
    assert house.entries()[0]["reason"] == "backend_broken"
    assert peak_mib(house) < memory_max_mib() / 6


def test_large_events_hold_nobody_up(house: House) -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        for _time in range(2):
            send_chunk(handler, event(content="]:" * 50_000))
        send_chunk(handler, b"data: [DONE]\n\n")
        send_chunk(handler, b"")

    def trial() -> float:
        thread = threading.Thread(target=lambda: house.stream().read(), daemon=True)
        thread.start()
        return worst_health_seconds(house, [thread])

    house.runtime.behave = behave
    assert best(trial) < 1
    assert eventually(lambda: bool(house.entries()))
    assert house.entries()[0]["reason"] == "ok"


def test_who_hangs_up_does_not_wait_for_the_work(house: House) -> None:
    """And the gatekeeper goes on serving."""
    house.runtime.behave = sends(HOSTILE["slow to search"])
    connection = house.connect()
    body = {"model": "chat", "messages": [{"role": "user", "content": "PROMPT"}]}
    headers = {"Authorization": f"Bearer {house.key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    time.sleep(1)
    connection.close()
    house.runtime.behave = lambda handler: reply(handler, {"choices": []})
    assert house.chat()[0] == 200


def test_a_runtime_that_answers_later_and_later_is_given_up(cold_house: House) -> None:
    """Each interim answer (RFC 9110 section 15.2) is a sign of life; none is an answer."""
    house = cold_house
    house.place("settings.json", {**SETTINGS, "idle_timeout": 1})
    house.start()
    over = threading.Event()

    def behave(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.05):
                handler.connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")

    house.runtime.behave = behave
    try:
        status, body = house.chat()
    finally:
        over.set()
    assert (status, body["error"]["code"]) == (504, "answer_timeout")


def test_it_comes_back_however_often_it_was_killed() -> None:
    unit = UNIT.read_text()
    assert "StartLimitIntervalSec=0\n" in unit and "Restart=on-failure\n" in unit
