# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests that are meant to be refused, and a few that are meant to be answered.

Unlike an ordinary client it sends the path as it is, follows nothing, retries nothing and reports
at which layer it was turned away.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import dialects
from .errors import AirlockError
from .tls_probe import client_context

CONNECT = "connect"  # no TCP connection
TLS = "tls"  # a connection, but no TLS session
PLAIN = "plain"  # a session, but no HTTP answer
ERRORS = (CONNECT, TLS, PLAIN)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_MAX_BYTES = 4 * 1024 * 1024
_EXCERPT = 2000
_SHOWN = 200  # characters of what a model said, in a record
# How a stream says that it is whole: OpenAI's, its responses', Anthropic's messages.
_LAST_EVENTS = (
    b"data: [DONE]",
    b'data: {"type":"response.completed"',
    b'data: {"type":"message_stop"',
)


@dataclass(frozen=True)
class Request:
    """One request. ``url`` is scheme, host and port; ``path`` is sent byte by byte.

    ``connect_to`` is the name or address to connect to; without it that of ``url``, which is what is asked for and
    checked in any case.

    ``ca`` holds PEM text; without it the system's authorities count. So does ``certificate``, which has its key with
    it; without it none is shown.
    Exactly one of ``expect_status`` and ``expect_error`` is set. ``expect_code`` is the ``error.code`` of a refusal in
    OpenAI's form; ``says`` has to be, and ``hides`` must not be in what the model says in an answer of that form.
    ``beside`` is the ``id`` of the request that shows that what is turned away would have been answered otherwise;
    without it every one that the same address answered does.
    """

    id: str
    url: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    key: str = ""
    ca: str = ""
    certificate: str = ""
    tls_min: str = ""
    tls_max: str = ""
    stream: bool = False
    expect_status: int | None = None
    expect_error: str | None = None
    expect_code: str = ""
    says: str = ""
    hides: str = ""
    beside: str = ""
    connect_to: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Return who is asked for, and where."""
        asked = urlsplit(self.url)
        return asked.netloc, self.connect_to or asked.hostname or ""

    @property
    def listens(self) -> bool:
        """Tell whether it matters what the model says."""
        return bool(self.says or self.hides)

    @property
    def is_denial(self) -> bool:
        """Tell whether the request, or a part of its answer, is expected to be held back."""
        return self.expect_error is not None or (self.expect_status or 0) >= 400 or bool(self.hides)


@dataclass
class Answer:
    """What came back. ``error`` is one of ERRORS or None; names of headers are in small letters;
    times are in ms; ``events`` counts the server-sent events of a stream that ended with
    ``[DONE]``, and is 0 for one that did not; ``code`` is that of a refusal in OpenAI's form, ``said`` what the model
    says in an answer of that form, when the request ``listens``."""

    status: int | None = None
    error: str | None = None
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    code: str = ""
    said: str = ""
    ms: int = 0
    ttft_ms: int | None = None
    events: int | None = None


def perform(request: Request, timeout: float) -> Answer:
    """Send ``request`` and report; network failures are answers, not exceptions.

    ``timeout`` is in seconds, for connecting and for every read. Raises AirlockError for a
    request that cannot be sent at all.
    """
    target = urlsplit(request.url)
    if target.scheme not in ("http", "https") or not target.hostname:
        raise AirlockError.refuse(
            "this is no address to probe",
            expected="http(s)://HOST:PORT",
            found=request.url,
            where=request.id,
        )
    context = _context(request) if target.scheme == "https" else None
    answer = Answer()
    started = time.monotonic()
    layer = CONNECT
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=timeout)
    try:
        connection.sock = socket.create_connection((request.place[1], connection.port), timeout)
        # Head and body are two writes, and the second shall not wait for an acknowledgement.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            layer = TLS
            connection.sock = context.wrap_socket(connection.sock, server_hostname=target.hostname)
        layer = PLAIN
        body, headers = _content(request)
        connection.request(request.method, request.path, body, headers)
        response = connection.getresponse()
        answer.status = response.status
        answer.headers = {name.lower(): value for name, value in response.getheaders()}
        _read(response, request, answer, started)
    except (OSError, http.client.HTTPException) as exc:
        # In TLS 1.3 the server's refusal may arrive with the first read (RFC 8446 section 4.4.2.4).
        answer.error = TLS if isinstance(exc, ssl.SSLError) else layer
        answer.status = None
        answer.detail = str(exc) or type(exc).__name__
    finally:
        connection.close()
        answer.ms = _since(started)
    return answer


def holds(request: Request, answer: Answer) -> bool:
    """Tell whether ``answer`` is what ``request`` expects."""
    if request.expect_error is not None:
        return answer.error == request.expect_error
    if request.stream and request.expect_status == 200 and not answer.events:
        return False
    return (
        answer.status == request.expect_status
        and request.expect_code in ("", answer.code)
        and request.says in answer.said
        and not (request.hides and request.hides in answer.said)
    )


def describe(request: Request, answer: Answer) -> dict[str, Any]:
    """Return the texts that an evidence record needs: probe, expected, observed, holds, denial."""
    if answer.error:
        observed = f"{answer.error}: {answer.detail}"
    else:
        observed = f"{_status(answer.status, answer.code)} after {answer.ms} ms"
        if request.listens:
            observed += f", which says {answer.said[:_SHOWN]}"
        if answer.events is not None:
            observed += f", {answer.events} events, the first after {answer.ttft_ms} ms"
    return {
        "probe": f"{request.id}: {request.method} {request.url}{request.path}{_elsewhere(request)}",
        "expected": _expected(request),
        "observed": observed,
        "holds": holds(request, answer),
        "denial": request.is_denial,
    }


def positive_control(request: Request, answers: list[tuple[Request, Answer]]) -> str | None:
    """Return what shows, from the same run, that what was denied is answered otherwise, or None."""
    if not request.is_denial:
        return None
    for other, answer in answers:
        if request.beside not in ("", other.id):
            continue
        if not other.is_denial and other.place == request.place and holds(other, answer):
            return f"{other.id}: {other.method} {other.path} was answered after {answer.ms} ms"
    return None


def _elsewhere(request: Request) -> str:
    """Say where the request was sent where its URL does not."""
    there = request.connect_to
    return f" at {there}" if there.lower() not in ("", urlsplit(request.url).hostname) else ""


def _expected(request: Request) -> str:
    if request.expect_error:
        return f"{request.expect_error} error"
    expected = _status(request.expect_status, request.expect_code)
    for word, text in (("with", request.says), ("without", request.hides)):
        expected += f", {word} {text}" if text else ""
    return expected


def _status(status: int | None, code: str) -> str:
    return f"status {status} {code}".rstrip()


def _context(request: Request) -> ssl.SSLContext:
    context = client_context(request.ca, request.certificate, request.id)
    if request.tls_min:
        context.minimum_version = _VERSIONS[request.tls_min]
    if request.tls_max:
        context.maximum_version = _VERSIONS[request.tls_max]
    return context


def _content(request: Request) -> tuple[bytes | None, dict[str, str]]:
    headers = {"Connection": "close", **request.headers}
    if request.key:
        headers["Authorization"] = f"Bearer {request.key}"
    if request.body is None:
        return None, headers
    text = request.body if isinstance(request.body, str) else json.dumps(request.body)
    headers.setdefault("Content-Type", "application/json")
    return text.encode(), headers


def _read(
    response: http.client.HTTPResponse, request: Request, answer: Answer, started: float
) -> None:
    if not request.stream:
        data = response.read(_MAX_BYTES)
        document = _document(data)
        answer.body, answer.code = _excerpt(data), _code(document)
        answer.said = _said(document, streamed=False) if request.listens else ""
        return
    events, complete, size, last = 0, False, 0, b""
    said: list[str] = []
    while size < _MAX_BYTES and (line := response.readline(_MAX_BYTES)):
        size += len(line)
        if line.startswith(b"data:"):
            if answer.ttft_ms is None:
                answer.ttft_ms = _since(started)
            events, last = events + 1, line
            complete = line.startswith(_LAST_EVENTS)
            if request.listens:
                said.append(_said(_document(line.removeprefix(b"data:")), streamed=True))
    answer.events = events if complete else 0
    answer.body, answer.said = _excerpt(last), "".join(said)


def _document(data: bytes) -> dict[str, Any]:
    """Return the object that ``data`` is in JSON, an empty one for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _code(document: dict[str, Any]) -> str:
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _said(document: dict[str, Any], *, streamed: bool) -> str:
    return "".join(
        text.get() for text in dialects.texts(dialects.CHAT, document, streamed=streamed)
    )


def _excerpt(data: bytes) -> str:
    return data[:_EXCERPT].decode("utf-8", "replace")


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
