# SPDX-License-Identifier: GPL-3.0-or-later
"""Against real sockets: a TLS server with a throw-away authority, a plain one and a silent one."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import http_probe
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.http_probe import Answer, Request

FILES = Path(__file__).parents[4] / "roles/gateway/files"
ANOTHER_AUTHORITY = (FILES / "another-authority.pem").read_text()
STREAM = b'data: {"n":1}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'
MESSAGE = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

SPOKEN = b"".join(
    b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()
    for delta in (
        {"role": "assistant", "content": None},
        {"content": "the sec"},
        {"content": "ret"},
    )
)
SPOKEN += b"data: [DONE]\n\n"
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"content": "the secret"}}]}).encode()
REFUSAL = b'{"error": {"code": "expired_key"}}'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        authorized = self.headers.get("Authorization") == "Bearer k"
        self.send_response(200 if authorized else 401)
        self.send_header("X-Path", self.requestline.split()[1])  # self.path is tidied up
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()
        self.wfile.write(
            STREAM
            if self.path == "/whole"
            else STREAM[:-16]
            if self.path == "/cut"
            else MESSAGE
            if self.path == "/message"
            else SPOKEN
            if self.path == "/spoken"
            else WHOLE
            if self.path == "/answer"
            else REFUSAL
            if self.path == "/refused"
            else b"x" * 5000
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Content-Type"].encode() + b" " + body)

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Refused handshakes are what we are here for.
        server.handle_error = lambda *_arguments: None
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key beside it."""
    base = tmp_path_factory.mktemp("authority")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    command += [
        "-keyout",
        str(base / "key.pem"),
        "-out",
        str(base / "ca.pem"),
        "-days",
        "1",
        "-subj",
        "/CN=test",
    ]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    return base


@pytest.fixture(scope="module")
def door(authority: Path) -> Iterator[str]:
    """A server that speaks TLS 1.3 and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(authority / "ca.pem", authority / "key.pem")
    with serving(context) as place:
        yield place


def probe(request: Request, timeout: float = 5) -> Answer:
    return http_probe.perform(request, timeout)


def test_a_name_is_asked_for_and_checked_at_the_address_that_is_given(
    door: str, authority: Path
) -> None:
    with serving() as place:
        name = place.replace("127.0.0.1", "house.invalid")
        plain = Request("plain", f"http://{name}", connect_to="127.0.0.1", key="k")
        assert probe(plain).headers["x-host"] == name
    name, house = door.replace("127.0.0.1", "house.invalid"), (authority / "ca.pem").read_text()
    other = Request("x", f"https://{name}", connect_to="127.0.0.1", ca=house, expect_status=401)
    answer = probe(other)
    assert answer.error == "tls"
    assert "house.invalid" in answer.detail
    assert http_probe.describe(other, answer)["probe"] == f"x: GET https://{name}/ at 127.0.0.1"
    here = replace(other, url=f"https://{door}")
    assert http_probe.describe(here, probe(here))["probe"] == f"x: GET https://{door}/"


def test_each_layer_that_refuses_is_named(door: str, authority: Path) -> None:
    house = (authority / "ca.pem").read_text()
    url = f"https://{door}"
    for request in (
        Request("answered", url, ca=house, key="k", expect_status=200),
        Request("no key", url, ca=house, expect_status=401),
        Request("another authority", url, ca=ANOTHER_AUTHORITY, key="k", expect_error="tls"),
        Request("authorities of the system", url, key="k", expect_error="tls"),
        Request("TLS 1.2", url, ca=house, tls_max="1.2", expect_error="tls"),
        Request("no TLS", f"http://{door}", expect_error="plain"),
    ):
        answer = probe(request)
        assert http_probe.holds(request, answer), (request.id, answer)


def test_no_listener_and_no_answer_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        assert probe(Request("silent", f"http://{place}"), 0.2).error == "plain"
        assert probe(Request("silent", f"https://{place}"), 0.2).error == "tls"
    assert probe(Request("closed", f"https://{place}")).error == "connect"


@pytest.mark.parametrize("path", ["/v1/../slots", "//v1/models", "/v1/%2e%2e/slots", "/x?y=z"])
def test_a_path_is_sent_as_it_is(path: str) -> None:
    with serving() as place:
        answer = probe(Request("path", f"http://{place}", path, key="k"))
    assert answer.headers["x-path"] == path
    assert len(answer.body) == 2000


def test_a_stream_counts_only_when_it_is_complete() -> None:
    with serving() as place:
        whole = Request(
            "whole", f"http://{place}", "/whole", key="k", stream=True, expect_status=200
        )
        cut = Request("cut", f"http://{place}", "/cut", key="k", stream=True, expect_status=200)
        answers = [probe(whole), probe(cut), probe(replace(whole, path="/message"))]
    assert [answer.events for answer in answers] == [3, 0, 1]
    assert http_probe.holds(whole, answers[0])
    assert not http_probe.holds(cut, answers[1])


@pytest.mark.parametrize(("path", "stream"), [("/answer", False), ("/spoken", True)])
def test_what_a_model_says_is_heard_across_events(path: str, stream: bool) -> None:
    with serving() as place:
        asked = Request(
            "x", f"http://{place}", path, key="k", stream=stream, expect_status=200, says="secret"
        )
        answer = probe(asked)
        deaf = probe(replace(asked, says=""))
    assert http_probe.holds(asked, answer)
    assert not http_probe.holds(replace(asked, says="Secret"), answer)
    hidden = replace(asked, says="", hides="secret")
    assert not http_probe.holds(hidden, answer)
    assert http_probe.holds(replace(hidden, hides="another"), answer)
    assert hidden.is_denial and not asked.is_denial
    told = http_probe.describe(hidden, answer)
    assert told["expected"] == "status 200, without secret"
    assert "which says the secret" in told["observed"]
    assert deaf.said == ""


def test_a_refusal_for_another_reason_is_another_refusal() -> None:
    with serving() as place:
        asked = Request(
            "x", f"http://{place}", "/refused", expect_status=401, expect_code="expired_key"
        )
        answer = probe(asked)
    assert http_probe.holds(asked, answer)
    assert not http_probe.holds(replace(asked, expect_code="revoked_key"), answer)
    told = http_probe.describe(asked, answer)
    assert told["expected"] == "status 401 expired_key"
    assert told["observed"].startswith("status 401 expired_key after ")


def test_a_denial_may_name_what_it_stands_beside() -> None:
    one, other = (Request(name, "https://a:1", expect_status=200) for name in ("one", "other"))
    refused = Request("refused", "https://a:1", expect_status=403, beside="other")
    run = [(one, Answer(200)), (other, Answer(200)), (refused, Answer(403))]
    assert str(http_probe.positive_control(refused, run)).startswith("other: ")
    run[1] = (other, Answer(503))
    assert http_probe.positive_control(refused, run) is None


@pytest.mark.parametrize(("body", "sent"), [({"a": 1}, '{"a": 1}'), ("raw {", "raw {")])
def test_text_is_sent_as_it_is_and_the_rest_as_json(body: object, sent: str) -> None:
    with serving() as place:
        answer = probe(Request("body", f"http://{place}", method="POST", body=body))
    assert answer.body == f"application/json {sent}"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request("x", "ftp://h"), "no address to probe"),
        (Request("x", "h:8443"), "no address to probe"),
        (Request("x", "https://h", ca="no PEM"), "authority or certificate cannot be read"),
    ],
)
def test_what_cannot_be_sent_is_refused(request_: Request, text: str) -> None:
    with pytest.raises(AirlockError, match=text):
        probe(request_)


def test_a_denial_takes_its_positive_control_from_the_same_address() -> None:
    good = (Request("good", "https://a:1", "/m", expect_status=200), Answer(200, ms=7))
    bad = (
        Request("bad", "http://a:1", expect_error="plain"),
        Answer(error="plain", detail="closed"),
    )
    failed = (Request("failed", "https://b:1", expect_status=200), Answer(503))
    refused = (Request("refused", "https://b:1", expect_status=401), Answer(401))
    run = [good, bad, failed, refused]
    assert http_probe.positive_control(bad[0], run) == "good: GET /m was answered after 7 ms"
    assert http_probe.positive_control(refused[0], run) is None
    assert http_probe.positive_control(good[0], run) is None
    elsewhere = replace(bad[0], connect_to="10.0.0.1")
    assert http_probe.positive_control(elsewhere, run) is None
    assert http_probe.positive_control(replace(elsewhere, connect_to="a"), run) is not None
    assert http_probe.describe(*bad) == {
        "probe": "bad: GET http://a:1/",
        "expected": "plain error",
        "observed": "plain: closed",
        "holds": True,
        "denial": True,
    }
    assert http_probe.describe(*failed)["holds"] is False
