# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge takes and refuses, asked with openssl s_client, with raw bytes and under load."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.homelab.airlock.plugins.module_utils import tls_probe
from ansible_collections.homelab.airlock.plugins.plugin_utils import certificates
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import CLIENT

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is missing")

ANOTHER = (
    Path(__file__).resolve().parents[3] / "roles/gateway/files/another-authority.pem"
).read_text()
RELOAD = Path(__file__).resolve().parents[3] / "roles/gateway/files/edge_reload.py"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n%s\r\n"


@pytest.fixture(scope="module")
def plain_tls(edge_at: Callable[..., Any]) -> Any:
    """An edge at the default level."""
    return edge_at(gateway_requests_per_client=10**6)


@pytest.fixture(scope="module")
def high(edge_at: Callable[..., Any]) -> Any:
    """An edge at the level high."""
    return edge_at(airlock_authentication="mtls", gateway_requests_per_client=10**6)


def s_client(edge: Any, *options: str, certificate: str = "") -> str:
    """Return what openssl s_client says to a request, both its streams."""
    ca = edge.base / "s_client_ca.pem"
    ca.write_text(edge.ca)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-CAfile", str(ca)]
    if certificate:
        shown = edge.base / "s_client.pem"
        shown.write_text(certificate)
        command += ["-cert", str(shown), "-key", str(shown), "-cert_chain", str(shown)]
    done = subprocess.run(
        [*command, "-verify_return_error", "-ign_eof", *options],
        input="GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "answered"),
    [
        (["-tls1_3"], True),
        (["-tls1_2", "-cipher", "DEFAULT:@SECLEVEL=0"], False),
        (["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"], False),
        (["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"], False),
        (["-tls1_3", "-verify_hostname", "ai.home.arpa"], True),
        (["-tls1_3", "-verify_hostname", "bank.example"], False),
    ],
)
def test_versions_and_names_by_s_client(plain_tls: Any, options: list[str], answered: bool) -> None:
    said = s_client(plain_tls, *options)
    assert ("HTTP/1.1 200" in said) == answered, said
    if options[0] in ("-tls1_1", "-tls1_2", "-tls1"):
        assert "alert protocol version" in said


@pytest.mark.parametrize(
    ("visitor", "alert"),
    [
        ("valid", ""),
        ("", "certificate required"),
        ("stranger", "unknown ca"),
        ("expired", "certificate expired"),
        ("revoked", "certificate revoked"),
        ("server", "unsupported certificate"),
    ],
)
def test_client_certificates_by_s_client(high: Any, visitor: str, alert: str) -> None:
    said = s_client(high, certificate=high.visitors[visitor] if visitor else "")
    assert ("HTTP/1.1 200" in said) == (not alert), said
    assert f"alert {alert}" in said.lower() if alert else "alert" not in said


def test_the_probe_sees_what_s_client_sees(plain_tls: Any, high: Any) -> None:
    for version, outcome in (("1.0", "refused"), ("1.1", "refused"), ("1.2", "refused")):
        assert plain_tls.shake(version=version).outcome == outcome, version
    assert plain_tls.shake().version == "TLSv1.3"
    assert plain_tls.shake(plain=True).outcome == "refused"
    for visitor in ("stranger", "expired", "revoked", "server"):
        assert high.shake(certificate=high.visitors[visitor]).outcome == "refused", visitor
    assert high.shake().outcome == "refused"
    assert high.shake(certificate=high.visitors["valid"]).outcome == "answered"


def test_the_probe_tells_what_it_could_not_try_from_what_was_refused(plain_tls: Any) -> None:
    other = tls_probe.Attempt("x", "127.0.0.1", plain_tls.port, "distrusted", ca=ANOTHER)
    assert tls_probe.perform(other, 5).outcome == "distrusted"
    nobody = tls_probe.Attempt("x", "127.0.0.1", 1, "refused")
    ended = tls_probe.perform(nobody, 5)
    assert ended.outcome == "unreached"
    assert not tls_probe.holds(nobody, ended)
    record = tls_probe.record(nobody, ended, [(nobody, ended)])
    assert record["positive_control"] is None


def test_tls_1_2_by_choice(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(gateway_tls_min="1.2")
    assert edge.shake(version="1.2").outcome == "answered"
    assert edge.shake(version="1.1").outcome == "refused"


def test_a_key_alone_is_for_the_loopback(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(airlock_authentication="key")
    assert edge.shake(plain=True).outcome == "answered"


@pytest.mark.parametrize("name", ["X-Airlock-Cert", "x-airlock-cert-name", "X-Airlock-Client"])
def test_what_the_edge_says_a_client_cannot_say(plain_tls: Any, name: str) -> None:
    status, said = plain_tls.send(GET % f"{name}: forged\r\n".encode())
    assert status == 200
    assert "forged" not in str(said)


def test_the_certificate_that_was_verified_is_named(high: Any) -> None:
    forged = b"X-Airlock-Cert: forged\r\nX-Airlock-Cert-Name: root\r\n"
    _status, said = high.send(GET % forged, high.alice)
    found = {name.lower(): value for name, value in said["headers"]}
    leaf = x509.load_pem_x509_certificate(high.alice.encode())
    assert found["x-airlock-cert"] == certificates.fingerprint(leaf)
    assert found["x-airlock-cert-name"] == "alice"
    assert "forged" not in str(said)


def reload(edge: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the role's program beside a systemctl that knows this edge alone."""
    systemctl = edge.base / "bin/systemctl"
    systemctl.parent.mkdir(exist_ok=True)
    systemctl.write_text(
        f"#!/bin/sh\n[ $1 = show ] && echo {edge.process.pid} || kill -USR2 {edge.process.pid}\n"
    )
    systemctl.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-I", str(RELOAD), *arguments],
        env={"PATH": f"{systemctl.parent}:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_an_edge_that_does_not_take_its_new_files_is_noticed(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(airlock_authentication="mtls")
    first = edge.workers()
    assert reload(edge).returncode == 0
    assert edge.workers() - first
    with edge.connect(edge.alice):  # keeps the one before
        assert reload(edge, "cut").returncode == 0
        edge.wait(lambda: len(edge.workers()) == 1)
    (edge.run / "clients.crl").write_bytes(b"half a list")
    done = reload(edge)
    assert done.returncode == 1
    assert "did not take up its new configuration" in done.stderr
    assert edge.shake(certificate=edge.alice).outcome == "answered"


@pytest.mark.parametrize(
    ("visitor", "port"), [("", "plain_tls"), ("valid", "high")], ids=["default", "high"]
)
def test_no_session_is_resumed(request: pytest.FixtureRequest, visitor: str, port: str) -> None:
    edge = request.getfixturevalue(port)
    kept = edge.base / "session"
    certificate = edge.visitors[visitor] if visitor else ""
    assert "HTTP/1.1 200" in s_client(edge, "-sess_out", str(kept), certificate=certificate)
    if kept.exists():
        assert "Reused" not in s_client(edge, "-sess_in", str(kept), certificate=certificate)


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n%s\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            POST % b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
            + b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n",
            id="CL and TE",
        ),
        pytest.param(
            POST % b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n" + b"0\r\n\r\n",
            id="TE and CL",
        ),
        pytest.param(POST % b"Content-Length: 4\r\nContent-Length: 5\r\n" + b"abcde", id="two CL"),
        pytest.param(POST % b"Content-Length: 4, 5\r\n" + b"abcde", id="CL list"),
        pytest.param(POST % b"Content-Length: +4\r\n" + b"abcd", id="CL sign"),
        pytest.param(POST % b"Content-Length : 4\r\n" + b"abcd", id="space before colon"),
        pytest.param(POST % b"Transfer-Encoding: xchunked\r\n" + b"0\r\n\r\n", id="unknown TE"),
        pytest.param(
            POST % b"Transfer-Encoding: chunked, identity\r\n" + b"0\r\n\r\n", id="TE not last"
        ),
        pytest.param(POST % b"Transfer-Encoding:\x0bchunked\r\n" + b"0\r\n\r\n", id="TE hidden"),
        pytest.param(POST % b"Content_Length: 4\r\n", id="underscore"),
        pytest.param(GET % b"Host: y\r\n", id="two hosts"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", id="space in path"),
        pytest.param(b"GET /x HTTP/1.1\nHost: x\n\x00: y\n\n", id="NUL"),
        pytest.param(b"GET http://elsewhere/x HTTP/9.9\r\n\r\n", id="version"),
    ],
)
def test_no_second_request_is_smuggled(plain_tls: Any, data: bytes) -> None:
    with plain_tls.connect() as session:
        session.sendall(data)
        response = http.client.HTTPResponse(session)
        response.begin()
        assert 400 <= response.status < 502, response.status
        response.read()
        session.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            assert session.recv(100) == b"", "a second request was found in the first"


def test_the_host_is_fixed(plain_tls: Any) -> None:
    _status, said = plain_tls.send(
        b"GET /http://elsewhere/health HTTP/1.1\r\nHost: elsewhere\r\n\r\n"
    )
    assert [value for name, value in said["headers"] if name.lower() == "host"] == ["airlock"]


@pytest.mark.parametrize(
    "target",
    ["http://elsewhere/health", "http://", "x:///[y", "http://:/", "http://[::1/", "a:80", "*", "health"],
)  # fmt: skip
def test_a_target_is_a_path(plain_tls: Any, target: str) -> None:
    with plain_tls.connect() as session:
        session.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
        assert session.recv(100).split()[1] == b"400"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST % b"Content-Length: 1048577\r\n" + b"x" * 20000, 413),
        (POST % b"Content-Length: 99999999999999999999\r\n", 400),
        (GET % (b"A: " + b"x" * 20000 + b"\r\n"), 400),
        (GET % b"".join(b"A%d: x\r\n" % number for number in range(100)), 400),
    ],
    ids=["body", "number", "header", "headers"],
)
def test_what_is_too_large_is_refused(plain_tls: Any, data: bytes, status: int) -> None:
    with plain_tls.connect() as session:
        session.sendall(data)
        assert session.recv(100).split()[1] == str(status).encode()


def test_requests_of_one_address_are_limited(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(gateway_requests_per_client=10)
    with edge.connect() as session:
        found = []
        for _number in range(12):
            session.sendall(GET % b"")
            response = http.client.HTTPResponse(session)
            response.begin()
            response.read()
            found.append(response.status)
    assert found[:5] == [200] * 5
    assert found[-1] == 429


def test_connections_of_one_address_are_limited(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(gateway_connections_per_client=2)
    with edge.connect(), edge.connect(), pytest.raises(OSError):
        edge.connect()


def test_a_slow_request_is_cut(edge_at: Callable[..., Any]) -> None:
    edge = edge_at(gateway_header_timeout=1)
    with edge.connect() as session:
        session.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert b"408" in session.recv(100)
        assert time.monotonic() - started < 8  # by default it would be 10


class Load:
    """Clients that ask over fresh and over kept connections, and count what fails."""

    def __init__(self, edge: Any, certificate: str = ""):
        self.failures: list[str] = []
        self.answered = 0
        self._edge = edge
        self._context = ssl.create_default_context(cadata=edge.ca)
        if certificate:
            tls_probe.present(self._context, certificate)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, False)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.more(40)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.more(40)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Wait until so many more were answered; whoever asks for them counts them himself."""
        wanted, end = self.answered + count, time.monotonic() + 30
        while self.answered < wanted and time.monotonic() < end:
            time.sleep(0.02)

    def _ask(self, kept: bool) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._edge.port, context=self._context, timeout=5
            )
            try:
                while self._once(connection) and kept and not self._stop.is_set():
                    time.sleep(0.002)
            except (OSError, AssertionError, http.client.HTTPException) as exc:
                self.failures.append(repr(exc))
            finally:
                connection.close()

    def _once(self, connection: http.client.HTTPSConnection) -> bool:
        """Ask; tell whether the connection may be used again."""
        connection.request("GET", "/health")
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        self.answered += 1
        return not response.will_close


def test_another_certificate_is_taken_up_without_a_lost_request(plain_tls: Any) -> None:
    before = ssl.get_server_certificate(("127.0.0.1", plain_tls.port))
    with Load(plain_tls) as load:
        for _time in range(3):
            plain_tls.certify()
            plain_tls.reload()
            load.more(20)
    assert load.failures == []
    assert load.answered > 100
    assert ssl.get_server_certificate(("127.0.0.1", plain_tls.port)) != before


def test_a_certificate_that_is_taken_back_is_refused_and_others_notice_nothing(high: Any) -> None:
    assert high.shake(certificate=high.alice).outcome == "answered"
    with Load(high, high.visitors["valid"]) as load:
        with high.authority() as authority:
            authority.revoke(CLIENT, "alice", 90)
        high.hand_over()
        high.reload()
        ended = high.shake(certificate=high.alice)
    assert (ended.outcome, "revoked" in ended.detail.lower()) == ("refused", True), ended
    assert load.failures == []
    assert load.answered > 50


def test_a_list_that_has_ended_lets_nobody_in(edge_at: Callable[..., Any], tmp_path: Path) -> None:
    edge = edge_at(airlock_authentication="mtls")
    with edge.authority() as authority:
        past = authority.now - timedelta(days=2)
        crl = certificates.make_crl(authority.issuing, [], 9, past, past + timedelta(days=1))
    root = (edge.site / "pki/root.crl").read_bytes()
    (edge.run / "clients.crl").write_bytes(crl.public_bytes(Encoding.PEM) + root)
    edge.reload()
    assert edge.shake(certificate=edge.visitors["valid"]).outcome == "refused"
