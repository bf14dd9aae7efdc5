# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handshakes that a TLS server is meant to refuse, and one that it is meant to take.

What a handshake of TLS 1.3 is worth shows only with the first answer: a server may refuse the
client's certificate after the client believes that it is connected (RFC 8446 section 4.4.2.4). So
every attempt asks for something and waits for the first line that comes back.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import AirlockError

ANSWERED = "answered"  # the server took the session and answered over it
REFUSED = "refused"  # the server ended it: an alert, or a connection closed or reset
DISTRUSTED = "distrusted"  # the client did not believe the server's certificate
UNREACHED = "unreached"  # no TCP connection, or silence
UNTRIED = "untried"  # this machine could not make the attempt; it says nothing about the server
EXPECTATIONS = (ANSWERED, REFUSED, DISTRUSTED)

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_REQUEST = b"GET /health HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
# What OpenSSL says when it is the one that will not (openssl-errors(3)): nothing was sent then.
_OWN = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW")
_EXCERPT = 200


@dataclass(frozen=True)
class Attempt:
    """One handshake. ``ca`` and ``certificate`` hold PEM text; ``certificate`` has its chain and its key with it.

    ``version`` is the only one that is offered, '' any from 1.2 up. ``plain`` sends HTTP without TLS. ``server_name``
    is what is asked for and checked, '' the address.
    """

    id: str
    address: str
    port: int
    expect: str
    version: str = ""
    ca: str = ""
    certificate: str = ""
    server_name: str = ""
    plain: bool = False


@dataclass(frozen=True)
class Outcome:
    """How it ended, in one of the words above; ``version`` and ``cipher`` of a session that was made; ms."""

    outcome: str
    detail: str
    version: str = ""
    cipher: str = ""
    ms: int = 0


def perform(attempt: Attempt, timeout: float) -> Outcome:
    """Make the attempt; whatever the network does is an outcome. ``timeout`` in seconds, for each step.

    Raises AirlockError for authorities or certificates that cannot be read.
    """
    started = time.monotonic()

    def ended(outcome: str, detail: str, session: ssl.SSLSocket | None = None) -> Outcome:
        cipher = session.cipher() if session else None
        return Outcome(
            outcome,
            detail[:_EXCERPT],
            (session.version() or "") if session else "",
            cipher[0] if cipher else "",
            round((time.monotonic() - started) * 1000),
        )

    context = (
        None
        if attempt.plain
        else client_context(attempt.ca, attempt.certificate, attempt.id, attempt.version)
    )
    try:
        connection = socket.create_connection((attempt.address, attempt.port), timeout)
    except OSError as exc:
        return ended(UNREACHED, str(exc))
    with connection:
        if context is None:
            return ended(*_ask(connection))
        try:
            session = context.wrap_socket(
                connection, server_hostname=attempt.server_name or attempt.address
            )
        except ssl.SSLCertVerificationError as exc:
            return ended(DISTRUSTED, exc.verify_message)
        except (ssl.SSLError, OSError) as exc:
            return ended(*_failure(exc))
        with session:
            outcome, detail = _ask(session)
            return ended(outcome, detail, session)


def holds(attempt: Attempt, outcome: Outcome) -> bool:
    """Tell whether the attempt ended as it has to."""
    return outcome.outcome == attempt.expect


def record(
    attempt: Attempt, outcome: Outcome, others: Sequence[tuple[Attempt, Outcome]]
) -> dict[str, Any]:
    """Return the evidence of an attempt but control and vantage, as module ``evidence`` takes it.

    A denial counts beside an attempt at the same address and port that was answered in the same run.
    """
    control = next(
        (
            f"{other.id}: {seen.detail} over {seen.version or 'plain HTTP'} after {seen.ms} ms"
            for other, seen in others
            if (other.address, other.port) == (attempt.address, attempt.port)
            and other.expect == seen.outcome == ANSWERED
        ),
        None,
    )
    denial = attempt.expect != ANSWERED
    named = attempt.server_name not in ("", attempt.address)
    asked_for = f", asked for {attempt.server_name}" if named else ""
    session = f" ({outcome.version}, {outcome.cipher})" if outcome.version else ""
    return {
        "probe": f"{attempt.id}: {attempt.address} port {attempt.port}{asked_for}",
        "expected": attempt.expect,
        "observed": f"{outcome.outcome} after {outcome.ms} ms: {outcome.detail}{session}",
        "holds": holds(attempt, outcome),
        "denial": denial,
        "positive_control": control if denial else None,
    }


def _ask(connection: socket.socket) -> tuple[str, str]:
    try:
        connection.sendall(_REQUEST)
        line = connection.recv(_EXCERPT).partition(b"\r\n")[0]
    except OSError as exc:
        return _failure(exc)
    if line.startswith(b"HTTP/"):
        return ANSWERED, line.decode("ascii", "replace")
    # A server that knows TLS alone may say so in an alert, which is no answer.
    return REFUSED, "closed without an answer" if not line else f"{len(line)} bytes, not HTTP"


def _failure(exc: OSError) -> tuple[str, str]:
    text = str(exc) or type(exc).__name__
    if isinstance(exc, TimeoutError):
        return UNREACHED, "silence"
    if isinstance(exc, ssl.SSLError) and any(own in text for own in _OWN):
        return UNTRIED, text
    return REFUSED, text


def client_context(ca: str, certificate: str, where: str, version: str = "") -> ssl.SSLContext:
    """Return what a client trusts (PEM, "" the system's) and shows (PEM with its key, "" nothing).

    ``version`` is the only one that it offers, "" any. Raises AirlockError, which names ``where``.
    """
    try:
        context = ssl.create_default_context(cadata=ca or None)
        if version:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = VERSIONS[version]
                context.maximum_version = VERSIONS[version]
            # So that it is the server that refuses what is old, and not this client.
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        if certificate:
            present(context, certificate)
    except (OSError, ValueError) as exc:
        raise AirlockError.refuse(
            "authority or certificate cannot be read", found=str(exc), where=where
        ) from exc
    return context


def present(context: ssl.SSLContext, certificate: str) -> None:
    """Have a client show a certificate (PEM with its key), without a key on any disk (memfd_create(2)).

    Raises OSError, which ssl.SSLError is.
    """
    with open(os.memfd_create("certificate"), "wb") as handle:
        handle.write(certificate.encode())
        handle.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle.fileno()}")
