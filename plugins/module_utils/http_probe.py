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
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import AirlockError

CONNECT = "connect"  # no TCP connection
TLS = "tls"  # a connection, but no TLS session
PLAIN = "plain"  # a session, but no HTTP answer
ERRORS = (CONNECT, TLS, PLAIN)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_MAX_BYTES = 4 * 1024 * 1024
_EXCERPT = 2000


@dataclass(frozen=True)
class Request:
    """One request. ``url`` is scheme, host and port; ``path`` is sent byte by byte.

    ``ca`` holds PEM text; without it the system's authorities count.
    Exactly one of ``expect_status`` and ``expect_error`` is set.
    """

    id: str
    url: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    key: str = ""
    ca: str = ""
    tls_min: str = ""
    tls_max: str = ""
    stream: bool = False
    expect_status: int | None = None
    expect_error: str | None = None

    @property
    def is_denial(self) -> bool:
        """Tell whether the request is expected to be turned away."""
        return self.expect_error is not None or (self.expect_status or 0) >= 400


@dataclass
class Answer:
    """What came back. ``error`` is one of ERRORS or None; names of headers are in small letters;
    times are in ms; ``events`` counts the server-sent events of a stream that ended with
    ``[DONE]``, and is 0 for one that did not."""

    status: int | None = None
    error: str | None = None
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
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
        connection.connect()
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
    return answer.status == request.expect_status


def describe(request: Request, answer: Answer) -> dict[str, Any]:
    """Return the texts that an evidence record needs: probe, expected, observed, holds, denial."""
    if answer.error:
        observed = f"{answer.error}: {answer.detail}"
    else:
        observed = f"status {answer.status} after {answer.ms} ms"
        if answer.events is not None:
            observed += f", {answer.events} events, the first after {answer.ttft_ms} ms"
    return {
        "probe": f"{request.id}: {request.method} {request.url}{request.path}",
        "expected": f"{request.expect_error} error"
        if request.expect_error
        else f"status {request.expect_status}",
        "observed": observed,
        "holds": holds(request, answer),
        "denial": request.is_denial,
    }


def positive_control(request: Request, answers: list[tuple[Request, Answer]]) -> str | None:
    """Return what shows that the address of a denial does answer, from the same run, or None."""
    if not request.is_denial:
        return None
    place = urlsplit(request.url).netloc
    for other, answer in answers:
        if not other.is_denial and urlsplit(other.url).netloc == place and holds(other, answer):
            return f"{other.id}: {other.method} {other.path} was answered after {answer.ms} ms"
    return None


def _context(request: Request) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=request.ca or None)
    except (OSError, ValueError) as exc:
        raise AirlockError.refuse(
            "the authority cannot be read", found=str(exc), where=request.id
        ) from exc
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
        answer.body = _excerpt(response.read(_MAX_BYTES))
        return
    events, complete, size, last = 0, False, 0, b""
    while size < _MAX_BYTES and (line := response.readline(_MAX_BYTES)):
        size += len(line)
        if line.startswith(b"data:"):
            if answer.ttft_ms is None:
                answer.ttft_ms = _since(started)
            events, last = events + 1, line
            complete = line.strip() == b"data: [DONE]"
    answer.events = events if complete else 0
    answer.body = _excerpt(last)


def _excerpt(data: bytes) -> str:
    return data[:_EXCERPT].decode("utf-8", "replace")


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
