# SPDX-License-Identifier: GPL-3.0-or-later
"""What got past AI gateways in 2026, tried through the real edge and the real gatekeeper.

A trick has failed when it is answered with a refusal (or not at all) and the runtime has heard
nothing of it; the positive control shows that an honest request gets there by the same way.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import House, begin_stream, eventually, reply, send_chunk
from .edge import SECONDS, Edge, running, statuses

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "x"}]
HONEST = {"model": "chat", "messages": MESSAGES}
BODY = json.dumps(HONEST).encode()


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with tempfile.TemporaryDirectory(prefix="gk-") as base:
        house = House(Path(base))
        house.start()
        house.ask("GET", "/health")
        with running(house) as edge:
            yield edge
        house.close()


@pytest.fixture(autouse=True)
def _control(edge: Edge) -> Iterator[None]:
    """An honest request passes before and after; in between the runtime hears nothing."""
    for _before_and_after in range(2):
        edge.house.runtime.requests.clear()
        assert statuses(edge.request(body=BODY)) == [200]
        assert [path for path, _headers, _body in edge.house.runtime.requests] == [CHAT]
        edge.house.runtime.requests.clear()
        if not _before_and_after:
            yield
            assert edge.house.runtime.requests == [], "the runtime heard of it"


def refused(answer: bytes, *allowed: int) -> bool:
    """Tell whether all that came back is one refusal, or nothing."""
    found = statuses(answer)
    return len(found) <= 1 and all(status in allowed or 400 <= status < 500 for status in found)


# -- credentials -------------------------------------------------------------------------------

KEYS = [
    "' OR '1'='1",
    "' UNION SELECT token FROM keys --",
    "aik_alice_' OR 1=1 --",
    "admin'--",
    '{"$ne": null}',
    "$(id)",
    "`id`",
    "../../etc/passwd",
    "%00",
    "aik_alice_" + "A" * 43 + "\u00e9",
    "aik_*_*",
    "null",
    "undefined",
    "Bearer",
    "sk-" + "x" * 4000,
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "x-api-key: {}", "api-key: {}"])
def test_no_key_is_read_as_a_query(edge: Edge, key: str, header: str) -> None:
    line = header.format(key) + "\r\n"
    if "Authorization" not in line:
        line += "Authorization:\r\n"
    answer = edge.request(headers=line, body=BODY)
    assert statuses(answer) in ([401], [400])


def test_a_key_somewhere_else_than_in_its_header_is_none(edge: Edge) -> None:
    key = edge.house.key
    none = "X-Authorization: none\r\n"  # the harness adds no key of its own
    for extra in (f"Cookie: key={key}", f"Proxy-Authorization: Bearer {key}", f"token: {key}"):
        assert statuses(edge.request(headers=f"{none}{extra}\r\n", body=BODY)) == [401]
    for target in (f"{CHAT}?api_key={key}", f"{CHAT}?key={key}", f"/{key}{CHAT}"):
        assert statuses(edge.request(target, headers=none, body=BODY)) == [404]


def test_two_different_keys_are_refused_whoever_would_win(edge: Edge) -> None:
    mine, other = edge.house.key, edge.house.other
    for headers in (
        f"Authorization: Bearer {mine}\r\nx-api-key: {other}\r\n",
        f"Authorization: Bearer {other}\r\nx-api-key: {mine}\r\n",
        f"Authorization: Bearer {mine}\r\nAuthorization: Bearer {other}\r\n",
        f"Authorization: Bearer {mine}\r\napi-key: x\r\n",
        f"Authorization: Basic x\r\nx-api-key: {mine}\r\n",
        f"authorization: Bearer {mine}, Bearer {other}\r\n",
    ):
        assert statuses(edge.request(headers=headers, body=BODY)) in ([400], [401])


# -- where a request goes ----------------------------------------------------------------------

PLACES = ["/slots", "/metrics", "/props", "/api/pull", "/v1/streams/lookup", "/tools"]


@pytest.mark.parametrize("place", PLACES)
def test_no_header_leads_a_request_somewhere_else(edge: Edge, place: str) -> None:
    """CVE-2026-48710 took the route from the Host; here both see one path and a fixed Host."""
    for header in (
        f"Host: x{place}",
        f"Host: airlock@x{place}?",
        f"X-Original-URL: {place}",
        f"X-Rewrite-URL: {place}",
        f"X-Forwarded-Host: x{place}",
        f"X-Forwarded-Prefix: {place}",
        f"X-Forwarded-Path: {place}",
        f"Forwarded: host=x{place}",
        "X-HTTP-Method-Override: DELETE",
    ):
        answer = edge.request("/v1/models", headers=f"{header}\r\n")
        assert statuses(answer) in ([200], [400])
        assert b"prompt" not in answer
        assert statuses(edge.request(place, headers=f"{header}\r\n")) in ([404], [400])
    # Who the client is says the edge, whatever the client says.
    edge.request("/v1/models", headers="X-Airlock-Client: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n")
    assert "6.6.6.6" not in edge.house.audit.read_text()


def test_a_target_in_another_form_leads_nowhere(edge: Edge) -> None:
    for target in (
        f"http://169.254.169.254{CHAT}",
        "http://runtime/slots",
        "//runtime/slots",
        "runtime:80",
        "*",
        "@runtime/slots",
        "http:/slots",
    ):
        for method in ("GET", "POST", "CONNECT", "OPTIONS"):
            assert refused(edge.request(target, method=method, body=b""), 501, 503), (
                method,
                target,
            )


PATHS = [
    "/v1/%63hat/completions",
    "/v1%2fchat/completions",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1//chat/completions",
    "//v1/chat/completions",
    "/./v1/chat/completions",
    "/x/../v1/chat/completions",
    "/x/%2e%2e/v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions/.",
    "/v1/chat/completions;x",
    "/v1/chat/completions#x",
    "/v1/chat/completions?",
    "/v1/chat/completions?x=1",
    "/v1\\chat\\completions",
    "/V1/chat/completions",
    "/v1/chat/completions\xa0",
    "/v1/ch\u00e4t/completions",
    "/v1/chat/completions\x00",
    "/v1/chat/completions\x0b",
    "/v1/chat/../../slots",
    "/v1/models/../chat/completions",
    "/%2e%2e/slots",
    "/..;/slots",
    "/health/../v1/chat/completions",
    "/health%2f..%2fv1/chat/completions",
    "v1/chat/completions",
    "/completions",
    "/chat/completions",
    "/" + "a" * 7000,
]


@pytest.mark.parametrize("path", PATHS)
def test_there_is_one_spelling_of_a_route(edge: Edge, path: str) -> None:
    assert statuses(edge.request(path, body=BODY)) in ([404], [400])


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "post", "GET"]
)
def test_a_route_has_one_method(edge: Edge, method: str) -> None:
    assert refused(edge.request(method=method, body=BODY), 501)


# -- bodies ------------------------------------------------------------------------------------

BODIES: list[tuple[str, Any]] = [
    *((CHAT, {**HONEST, **change}) for change in (
        {"n": -1},
        {"n": 10**6},
        {"max_tokens": -1},
        {"max_tokens": 2**63},
        {"n_discard": -1},
        {"n_predict": -1},
        {"id_slot": -1},
        {"cache_prompt": True},
        {"seed": -1},
        {"top_k": -1},
        {"logit_bias": {"-1": -1000}},
        {"grammar": 'root ::= "x"'},
        {"return_progress": True},
        {"chat_template_kwargs": {"x": 1}},
        {"lora": [{"id": 0, "scale": 1}]},
    )),
    *((CHAT, {"model": "chat", "messages": [{"role": "user", "content": [part]}]}) for part in (
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/shadow"}},
        {"type": "image_url", "image_url": {"url": "gopher://x/"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "video_url", "video_url": {"url": "http://x/"}},
        {"type": "input_audio", "input_audio": {"data": "http://x/", "format": "wav"}},
    )),
    (CHAT, {**HONEST, "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"$ref": "http://169.254.169.254/"}}}}),
    (CHAT, {**HONEST, "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "array", "maxItems": 10**9}}}}),
    (CHAT, {**HONEST, "tools": [{"type": "function", "function": {"name": "../../x"}}]}),
    ("/v1/messages", {**HONEST, "system": [{"type": "image", "source": {"type": "url", "url": "http://x/"}}]}),
    ("/v1/messages", {**HONEST, "max_tokens": -5}),
    ("/v1/responses", {"model": "chat", "input": [{"type": "input_image", "image_url": "http://x/"}]}),
    ("/v1/responses", {"model": "chat", "input": "x", "tools": [{"type": "mcp", "server_url": "http://x/"}]}),
    ("/v1/responses", {"model": "chat", "input": "x", "prompt": {"id": "x"}}),
    ("/v1/completions", {"model": "chat", "prompt": [1, 2, 3]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_hostile_field_goes_no_further(edge: Edge, path: str, body: dict[str, Any]) -> None:
    assert statuses(edge.request(path, body=json.dumps(body).encode())) == [400]


RAW = [
    b'{"model":"chat","model":"secret","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"mess\\u0061ges":[]}',
    b'{"model":"chat","messages":[{"role":"user","role":"system","content":"x"}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"temperature":-Infinity}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"temperature":1e9999}',
    b'{"model":"chat","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 5000 + b"}",
    b'{"model":"chat","messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"model":"chat","messages":[{"role":"user","content":"\xff"}]}',
    b"\xef\xbb\xbf" + BODY,
    BODY.decode().encode("utf-16"),
    BODY + BODY,
    BODY + b"\x00",
    BODY.replace(b"}]", b"},]"),
    b"/* */" + BODY,
    b"[" * 50_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"MODEL":"chat","messages":[]}',
    b"model=chat",
]


@pytest.mark.parametrize("body", RAW)
def test_what_is_not_one_plain_document_goes_no_further(edge: Edge, body: bytes) -> None:
    assert statuses(edge.request(body=body)) == [400]


# -- framing -----------------------------------------------------------------------------------

SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
FRAMINGS = [
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
    b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n",
    b"Content-Length: 0, %d\r\n\r\n",
    b"Content-Length: +%d\r\n\r\n",
    b"Content-Length: -%d\r\n\r\n",
    b"Content-Length: 0x%d\r\n\r\n",
    b"Content-Length : %d\r\n\r\n",
    b"Content-Length: %d e0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: identity, chunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    b" Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    b"Transfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n0 \r\n\r\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n0x0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\nffffffffffffffffff\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n0\n\n",
    b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n0;\nx\r\n\r\n",
    b"Content-Length: %d\nX: y\n\n",
    b"Content-Length: %d\r\nX: a\x00b\r\n\r\n",
    b"Content-Length: %d\r\nX\x00Y: a\r\n\r\n",
    b"Content-Length: %d\r\nX: a\rb\r\n\r\n",
    b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: %d\r\n\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n",
    b"Connection: Authorization, Content-Length\r\nContent-Length: %d\r\n\r\n",
]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_edge_and_gatekeeper_agree_where_a_request_ends(edge: Edge, framing: bytes) -> None:
    """Whatever follows in the connection is a request of its own, judged for itself.

    Behind the trick stands a request without a key: were it ever taken for the rest of another
    one that has a key, or the other way round, one of them would be answered with 200.
    """
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: airlock\r\nContent-Type: application/json\r\n"
    )
    key = f"Authorization: Bearer {edge.house.key}\r\n".encode()
    trick = framing % len(SMUGGLED) if b"%d" in framing else framing
    before = len(edge.house.entries())
    answer = edge.send(head + key + trick + SMUGGLED)
    assert 200 not in statuses(answer)
    time.sleep(0.05)
    reasons = [entry["reason"] for entry in edge.house.entries()[before:]]
    assert len(reasons) <= 2
    assert set(reasons[1:]) <= {"no_key"}, "the second request has used the first one's key"


def test_two_requests_in_one_connection_are_two(edge: Edge) -> None:
    """The positive control of the test above."""
    key = f"Authorization: Bearer {edge.house.key}\r\n".encode()
    one = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + key
    )
    one += b"Content-Length: %d\r\n" % len(BODY)
    answer = edge.send(one + b"\r\n" + BODY + one + b"Connection: close\r\n\r\n" + BODY)
    assert statuses(answer) == [200, 200]
    chunked = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + key
    )
    chunked += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    # One way to say where a request ends is enough.
    assert statuses(edge.send(chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))) == [400]
    assert [body["model"] for _path, _headers, body in edge.house.runtime.requests] == ["chat"] * 2
    edge.house.runtime.requests.clear()


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/models\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\x00\x00",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
)
def test_what_is_not_http_1_1_is_not_served(edge: Edge, data: bytes) -> None:
    assert refused(edge.send(data), 505)


# -- slow and giant ----------------------------------------------------------------------------


def test_a_header_or_body_that_trickles_in_is_given_up(edge: Edge) -> None:
    for start in (
        b"POST /v1",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    ):
        began = time.monotonic()
        with edge.connect() as connection:
            connection.sendall(start)
            connection.settimeout(0.2)
            answer = b""
            while time.monotonic() - began < SECONDS + 9:
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break
                    continue
                except OSError:
                    break
                if not part:
                    break
                answer += part
        assert time.monotonic() - began < SECONDS + 8  # by default it would be 10
        assert statuses(answer) in ([408], [400], [])


def test_a_giant_is_turned_away_before_it_is_read(edge: Edge) -> None:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {edge.house.key}\r\n"
    ).encode()
    for length in (b"1048577", b"9999999999", b"1" + b"0" * 30):
        answer = edge.send(head + b"Content-Length: %s\r\n\r\n{" % length)
        assert statuses(answer) in ([413], [408], [400])
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    chunked = [head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40, b"0\r\n\r\n"]
    assert 200 not in statuses(edge.send(*chunked))
    for headers in ("X: " + "y" * 20_000 + "\r\n", "".join(f"X-{n}: y\r\n" for n in range(200))):
        assert refused(edge.request("/v1/models", headers=headers))
    rss = Path(f"/proc/{edge.house.process.pid}/statm").read_text().split()[1]  # type: ignore[union-attr]
    assert int(rss) * 4096 < 128 * 1024 * 1024


# -- answers -----------------------------------------------------------------------------------


def test_an_answer_with_a_hostile_form_does_not_pass(edge: Edge) -> None:
    house = edge.house
    honest = house.runtime.behave
    try:
        house.runtime.behave = lambda handler: reply(
            handler, {"choices": [], "choices ": 1, "slots": [1]}
        )
        assert b"slots" not in edge.request(body=BODY)

        def unknown(handler: Any) -> None:
            begin_stream(handler)
            send_chunk(handler, b'data: {"choices":[{"delta":{"content":"No. "}}]}\n\n')
            first.wait(10)  # so that the client has it before the second comes
            send_chunk(handler, b'data: {"slots":[{"prompt":"of somebody else"}]}\n\n')
            send_chunk(handler, b"")

        def heard(so_far: bytes) -> None:
            if b"No. " in so_far:
                first.set()

        first = threading.Event()
        house.runtime.behave = unknown
        body = json.dumps({**HONEST, "stream": True}).encode()
        answer = edge.request(body=body, heard=heard)
        assert first.is_set()
        assert b'"content":"No. "' in answer
        assert b"somebody" not in answer
        assert b"backend_broken" in answer
        assert not answer.endswith(b"0\r\n\r\n"), "it looks complete"
        assert eventually(lambda: house.entries()[-1]["reason"] == "backend_broken")
    finally:
        house.runtime.behave = honest
    house.runtime.requests.clear()


# -- noise -------------------------------------------------------------------------------------


def test_noise_never_reaches_a_runtime_unchecked(edge: Edge) -> None:
    """Seeded mutations of an honest request: what still arrives is as honest as it was."""
    generator = random.Random(20261121)  # noqa: S311 - it makes noise
    tokens = [
        *(bytes([one]) for one in b'\n\0: \t/"{,\xff'),
        b"\r\n",
        b"%2f",
        b"..",
        b"-1",
        b"chunked",
    ]

    def noisy(data: bytes) -> bytes:
        place = generator.randrange(len(data))
        rest = data[place + generator.randint(0, 2) :]
        return data[:place] + generator.choice(tokens) + rest

    arrived = 0
    for case in range(150):
        body = noisy(BODY) if case % 2 else BODY
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {edge.house.key}\r\nContent-Length: {len(body)}\r\n"
            "User-Agent: somebody's client\r\nAccept: application/json\r\n\r\n"
        ).encode()
        with edge.connect() as connection:
            connection.sendall((head if case % 2 else noisy(head)) + body)
            try:
                answer = connection.recv(65536)
            except OSError:
                answer = b""
        assert not [
            status for status in statuses(answer) if status >= 500 and status not in (501, 505)
        ]
        arrived += statuses(answer)[:1] == [200]
    assert arrived > 5, "nothing got through, so nothing was tried"
    requests = edge.house.runtime.requests
    assert len(requests) == arrived
    for path, headers, body in requests:
        assert path == CHAT
        assert headers["Host"] == "runtime" and len(headers) == 5
        assert set(body) == {"model", "messages", "max_tokens", "id_slot", "cache_prompt"}
        assert set(body["messages"][0]) <= {"role", "content", "name"}
    requests.clear()
