# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests and of the runtimes' answers, read within limits."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from airlock import canonical, request_policy
from airlock.errors import AirlockError
from airlock.request_policy import Refusal

_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_TEXT = 500


async def receive(request: web.BaseRequest, into: bytearray) -> None:
    """Read the body of a request; what came is there whatever happens. Raises Refusal and OSError."""
    async for chunk in request.content.iter_any():
        into += chunk
        if len(into) > request_policy.MAX_BODY_BYTES:
            raise Refusal(
                413,
                "body_too_large",
                f"The body is larger than {request_policy.MAX_BODY_BYTES} bytes.",
            )


async def whole(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of an answer of at most ``limit`` bytes. Raises AirlockError."""
    data = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise AirlockError("the backend's answer is too large.")
    return bytes(data)


async def refusal(answer: aiohttp.ClientResponse) -> Refusal:
    """Return what the client is told of an answer that is none."""
    if answer.status == 503:
        return Refusal(503, "backend_unavailable", "The service is still loading its model.")
    if not 400 <= answer.status < 500:
        return Refusal(502, "backend_broken", "The service failed on this request.")
    try:
        data = await whole(answer, _MAX_ERROR_BYTES)
        message = canonical.parse(data, where="the service")["error"]["message"]
    except (AirlockError, KeyError, TypeError):
        message = "The service refused this request."
    return Refusal(400, "backend_refused", str(message)[:_MAX_ERROR_TEXT])
