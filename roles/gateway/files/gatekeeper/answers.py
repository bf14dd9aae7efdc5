# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers that the gatekeeper makes itself; each leaves status, size and digest in its audit entry."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from aiohttp import web
from airlock import dialects, routes
from airlock.request_policy import Refusal
from audit import AuditError, Entry
from limits import Limited

_ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_EPOCH = datetime.fromtimestamp(0, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def refused(exc: Refusal, entry: Entry, dialect: str = dialects.CHAT) -> web.Response:
    """Return the error that says why, in the form that clients of ``dialect`` know."""
    kind = _ERROR_TYPES.get(
        exc.status, "invalid_request_error" if exc.status < 500 else "server_error"
    )
    entry.reason = exc.code
    error = dialects.error(dialect, kind, exc.code, str(exc), exc.param)
    response = document(exc.status, error, entry)
    if exc.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(exc, Limited):
        response.headers["Retry-After"] = str(exc.retry_after)
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
    entry.response.clear()
    entry.keep(data)
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


def models(dialect: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the list of models as ``dialect`` has it; nothing is told but their names."""
    return _LISTS[dialect](list(names))


def _openai(names: list[str]) -> dict[str, Any]:
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "airlock"} for name in names
    ]
    return {"object": "list", "data": models}


def _anthropic(names: list[str]) -> dict[str, Any]:
    models = [
        {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH} for name in names
    ]
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
    return {"data": models, "has_more": False, "first_id": None, "last_id": None, **ends}


def _ollama(names: list[str]) -> dict[str, Any]:
    models = [
        {
            "name": name,
            "model": name,
            "modified_at": _EPOCH,
            "size": 0,
            "digest": "",
            "details": {"format": "", "family": "", "families": [], "parameter_size": ""},
        }
        for name in names
    ]
    return {"models": models}


_LISTS = {routes.MODELS: _openai, routes.TAGS: _ollama, dialects.MESSAGES: _anthropic}
