# SPDX-License-Identifier: GPL-3.0-or-later
"""Each dialect through the real gatekeeper, as its backend streams it and as a whole."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.tests.corpus import answers
from ansible_collections.homelab.airlock.tests.unit.plugins.module_utils import streams_of
from ansible_collections.homelab.airlock.tests.unit.plugins.module_utils.planted import (
    LEAD,
    PLANTED,
    TRAIL,
)

from .conftest import SCREENING, House, begin_stream, eventually, reply, send_chunk

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    dialects.CHAT: ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    dialects.COMPLETIONS: ("/v1/completions", {"prompt": "x"}),
    dialects.RESPONSES: ("/v1/responses", {"input": "x"}),
    dialects.MESSAGES: ("/v1/messages", {"messages": [{"role": "user", "content": "x"}]}),
    dialects.OLLAMA_CHAT: ("/api/chat", {"messages": [{"role": "user", "content": "x"}]}),
    dialects.OLLAMA_GENERATE: ("/api/generate", {"prompt": "x"}),
}
STREAMED = sorted(REQUESTS)


@pytest.fixture(autouse=True)
def every_dialect(cold_house: House) -> None:
    """Let one backend speak all of them: those of ollama are refused, for it keeps nobody apart."""
    catalogues = cold_house.config / "routes"
    ours, ollama = (
        json.loads((catalogues / f"{name}.json").read_text()) for name in ("llama_cpp", "ollama")
    )
    ours["routes"] += [
        entry for entry in ollama["routes"] if entry.get("dialect") in dialects.LINES
    ]
    cold_house.place("routes/llama_cpp.json", ours)


def ask(house: House, dialect: str, *, stream: bool) -> http.client.HTTPResponse:
    path, body = REQUESTS[dialect]
    connection = house.connect()
    body = {"model": "chat", "stream": stream, **body}
    headers = {"Content-Type": "application/json", "x-api-key": house.key}
    connection.request("POST", path, json.dumps(body), headers)
    return connection.getresponse()


def in_pieces(dialect: str, data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return how a runtime streams ``data``, cut where it comes."""

    def stream(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler, dialects.stream_type(dialect))
        for start in range(0, len(data), 97):
            send_chunk(handler, data[start : start + 97])
        send_chunk(handler, b"")

    return stream


@pytest.mark.parametrize("dialect", STREAMED)
def test_a_streamed_and_a_whole_answer_are_cleaned(cold_house: House, dialect: str) -> None:
    house = cold_house
    # The filter would hold back what may be the beginning of a secret, and change where pieces end.
    house.place("screening.json", {**SCREENING, "filter": "off"})
    house.start()
    data = answers.stream(dialect)
    house.runtime.behave = in_pieces(dialect, data)
    with ask(house, dialect, stream=True) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == dialects.stream_type(dialect)
        streamed = response.read()
    house.runtime.behave = lambda handler: reply(handler, answers.WHOLE[dialect])
    with ask(house, dialect, stream=False) as response:
        whole = response.read()
    for answer, text in ((streamed, b'"XT"'), (whole, b'"TEXT"')):
        assert text in answer
        assert b"LEAK" not in answer
        assert b"timings" not in answer
        assert b"cached" not in answer
    assert [(entry["status"], entry["reason"]) for entry in house.entries()] == [(200, "ok")] * 2
    assert [entry["prompt_tokens"] for entry in house.entries()] == [7, 7]
    assert house.runtime.requests[0][2].get("max_tokens", 0) in (0, 4096)


def planted(house: House, dialect: str, pieces: list[str]) -> tuple[str, list[str]]:
    """Return what a client reads of a text that comes in these pieces, and the verdicts on it."""
    data = streams_of.stream(dialect, streams_of.CONTENT, [pieces])
    house.runtime.behave = in_pieces(dialect, data)
    known = len(house.entries())
    with ask(house, dialect, stream=True) as response:
        read = streams_of.read(dialect, response.read())
    assert eventually(lambda: len(house.entries()) > known)
    return read[0, streams_of.CONTENT], house.entries()[-1]["verdicts"]


@pytest.mark.parametrize("dialect", STREAMED)
def test_with_the_filter_no_cut_of_a_stream_lets_a_secret_out(house: House, dialect: str) -> None:
    secret, mask = PLANTED["aws"]
    text = LEAD + secret + TRAIL
    for cut in range(len(LEAD), len(LEAD) + len(secret) + 1):
        said, verdicts = planted(house, dialect, [text[:cut], text[cut:]])
        assert (said, verdicts) == (LEAD + mask + TRAIL, ["filter:aws-access-key"]), cut


@pytest.mark.parametrize("dialect", STREAMED)
def test_with_the_filter_all_secrets_are_masked_letter_by_letter(
    house: House, dialect: str
) -> None:
    text, wanted = (
        "".join([LEAD + one[column] + TRAIL for one in PLANTED.values()]) for column in (0, 1)
    )
    said, verdicts = planted(house, dialect, list(text))
    assert said == wanted
    assert "filter:private-key" in verdicts


@pytest.mark.parametrize("dialect", STREAMED)
def test_an_unknown_event_ends_the_stream_with_an_error_of_its_dialect(
    house: House, dialect: str
) -> None:
    unknown = b'{"slots":[{"prompt":"of somebody else"}]}'

    def stream(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler, dialects.stream_type(dialect))
        send_chunk(
            handler, unknown + b"\n" if dialect in dialects.LINES else b"data: %s\n\n" % unknown
        )
        send_chunk(handler, b"")

    house.runtime.behave = stream
    response = ask(house, dialect, stream=True)
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    assert caught.value.partial == dialects.broken(dialect)
    assert eventually(lambda: len(house.entries()) == 1)
    assert house.entries()[0]["reason"] == "backend_broken"


@pytest.mark.parametrize(
    ("dialect", "other"),
    [(dialects.CHAT, "application/x-ndjson"), (dialects.OLLAMA_CHAT, "text/event-stream")],
)
def test_a_stream_in_another_framing_is_no_answer(house: House, dialect: str, other: str) -> None:
    def stream(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler, other)
        send_chunk(handler, b'data: {"choices":[]}\n\n')
        send_chunk(handler, b"")

    house.runtime.behave = stream
    with ask(house, dialect, stream=True) as response:
        assert response.status == 502


def test_what_a_backend_refuses_tells_no_path(house: House) -> None:
    message = "cannot read /var/lib/airlock/store/x.gguf: the context has 512 tokens"
    house.runtime.behave = lambda handler: reply(handler, {"error": {"message": message}}, 400)
    status, answer = house.chat()
    assert (status, answer["error"]["message"]) == (
        400,
        "cannot read (a path): the context has 512 tokens",
    )
