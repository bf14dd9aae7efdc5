# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers that the gatekeeper makes itself; each leaves status, size and digest in its audit entry."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from airlock.request_policy import Refusal
from audit import AuditError, Entry

_ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


def refused(exc: Refusal, entry: Entry) -> web.Response:
    """Return the error that says why, in the form that OpenAI's clients know."""
    kind = _ERROR_TYPES.get(
        exc.status, "invalid_request_error" if exc.status < 500 else "server_error"
    )
    entry.reason = exc.code
    error = {"message": str(exc), "type": kind, "code": exc.code, "param": exc.param}
    response = document(exc.status, {"error": error}, entry)
    if exc.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    response.force_close()  # the rest of a refused body is not worth reading
    return response


def unaudited(exc: AuditError, entry: Entry) -> web.Response:
    """Return the refusal of a request that cannot be recorded."""
    print(f"gatekeeper: the audit trail cannot be written: {exc}", file=sys.stderr, flush=True)
    return refused(Refusal(503, "not_audited", "The gateway cannot keep its records."), entry)


def document(status: int, value: dict[str, Any], entry: Entry) -> web.Response:
    """Return ``value`` as JSON."""
    return body(status, json.dumps(value).encode(), entry)


def body(status: int, data: bytes, entry: Entry) -> web.Response:
    """Return ``data``, which is JSON already."""
    entry.status = status
    entry.response_bytes = len(data)
    entry.response_sha256 = hashlib.sha256(data).hexdigest()
    return web.Response(status=status, body=data, headers=headers(entry, "application/json"))


def headers(entry: Entry, content_type: str) -> dict[str, str]:
    """Return the header of every answer."""
    return {
        "Content-Type": content_type,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": entry.id,
        "Server": "airlock",
    }


def models(names: Iterable[str]) -> dict[str, Any]:
    """Return the list of models that /v1/models gives."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "airlock"} for name in names
        ],
    }
