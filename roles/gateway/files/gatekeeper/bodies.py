# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests and of the runtimes' answers, read within limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import aiohttp
from aiohttp import web
from airlock import canonical, request_policy
from airlock.errors import AirlockError
from airlock.output_answer import Stopped
from airlock.request_policy import Refusal

_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_TEXT = 500
_MAX_ERROR_LOOK = 4096  # characters; masks may make a text shorter
_PATH = re.compile(r"(?:/[\w.@+-]+){2,}")


async def receive(request: web.BaseRequest, into: bytearray, seconds: float) -> None:
    """Read the body of a request; what came is there whatever happens.

    Raises Refusal, asyncio.TimeoutError after ``seconds``, and OSError.
    """
    if request.content.is_eof():  # it came with its header, as most do
        _take(request.content.read_nowait(), into)
    else:
        await asyncio.wait_for(_arriving(request.content, into), seconds)


async def _arriving(content: aiohttp.StreamReader, into: bytearray) -> None:
    async for chunk in content.iter_any():
        _take(chunk, into)


def _take(chunk: bytes, into: bytearray) -> None:
    into += chunk
    if len(into) > request_policy.MAX_BODY_BYTES:
        raise Refusal(
            413,
            "body_too_large",
            f"The body is larger than {request_policy.MAX_BODY_BYTES} bytes.",
        )


async def refusal(answer: aiohttp.ClientResponse, clean: Callable[..., str]) -> Refusal:
    """Return what the client is told of an answer that is none.

    A runtime may repeat in it what the prompt or its own files hold, so ``clean(text, final=...)``
    says what of the text may be sent.
    """
    if answer.status == 503:
        return Refusal(503, "backend_unavailable", "The service is still loading its model.")
    if not 400 <= answer.status < 500:
        return Refusal(502, "backend_broken", "The service failed on this request.")
    try:
        text = _PATH.sub("(a path)", await _message(answer))
        text = clean(text[:_MAX_ERROR_LOOK], final=len(text) <= _MAX_ERROR_LOOK)
    except Stopped as exc:
        return Refusal(502, exc.code, str(exc))
    except (AirlockError, KeyError, TypeError):
        text = "The service refused this request."
    return Refusal(400, "backend_refused", text[:_MAX_ERROR_TEXT])


async def _message(answer: aiohttp.ClientResponse) -> str:
    """Return the text of an error. Raises AirlockError, KeyError or TypeError where there is none."""
    data = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > _MAX_ERROR_BYTES:
            raise AirlockError("the backend's error is too large.")
    error = canonical.parse(bytes(data), where="the service")["error"]
    text = error["message"] if isinstance(error, dict) else error
    if not isinstance(text, str):
        raise TypeError("the backend's error is no text.")
    return text
