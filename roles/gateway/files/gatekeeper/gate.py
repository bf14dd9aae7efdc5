# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a request: route, key, body, runtime, answer, audit line."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import secrets
import sys
from collections.abc import Coroutine
from datetime import datetime, timezone
from typing import Any

import aiohttp
import answers
from aiohttp import web
from airlock import api_keys, request_policy
from airlock.errors import AirlockError
from airlock.request_policy import Refusal, Route
from airlock.response_policy import EventCleaner, Tokens, clean_document
from audit import AuditError, Entry, Trail
from config import Followed, Keys, Settings, Slot
from upstream import Runtimes

_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_TEXT = 500
_GONE_POLL_SECONDS = 0.2
_CLIENT_GONE = 499  # the status that nginx made customary for it; never sent
_KEY_REFUSALS = {
    api_keys.UNKNOWN: ("unknown_key", "This API key is not known."),
    api_keys.EXPIRED: ("expired_key", "This API key has expired."),
    api_keys.NOT_YET: ("key_not_yet_valid", "This API key is not valid yet."),
}


class ClientGone(Exception):
    """The client closed the connection before its answer was complete."""


class Gate:
    """Serves requests; everything that it knows is given to it."""

    def __init__(
        self,
        catalogue: request_policy.Catalogue,
        keys: Keys,
        slots: Followed[dict[str, Slot]],
        runtimes: Runtimes,
        trail: Trail,
        settings: Settings,
    ):
        self._catalogue = catalogue
        self._keys = keys
        self._slots = slots
        self._runtimes = runtimes
        self._trail = trail
        self._settings = settings
        self._in_flight = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; every path out of here has written its audit line."""
        entry = Entry(secrets.token_hex(8), request.method[:16], client=_client(request))
        self._in_flight += 1
        response: web.StreamResponse | None = None
        try:
            self._trail.ready()
            response = await _unless_gone(request, self._serve(request, entry))
        except Refusal as exc:
            response = answers.refused(exc, entry)
        except ClientGone:
            entry.status, entry.reason = _CLIENT_GONE, "client_gone"
        except AuditError as exc:
            return answers.unaudited(exc, entry)
        except (AirlockError, OSError) as exc:
            # One of the followed files is unreadable: nothing is known, so nothing passes.
            print(f"gatekeeper: {exc}", file=sys.stderr, flush=True)
            response = answers.refused(
                Refusal(503, "not_configured", "The gateway is not configured."), entry
            )
        finally:
            self._in_flight -= 1
        return self._finish(request, entry, response)

    async def drain(self, seconds: float) -> None:
        """Wait until no request is in flight, at most ``seconds``."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._in_flight and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    # -- decisions -------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest, entry: Entry) -> web.StreamResponse:
        route = self._catalogue.find(request.method, request.raw_path)
        entry.route = route.path
        if route.kind == "health":
            return answers.document(200, {"status": "ok"}, entry)
        record = self._authenticate(request, entry)
        slots = {name: self._slots.get().get(name) for name in record.services}
        if route.kind == "models":
            return answers.document(
                200, answers.models(name for name, slot in slots.items() if slot), entry
            )
        if self._in_flight > self._settings.max_concurrent:
            raise Refusal(429, "busy", "The gateway serves as many requests as it may; try again.")
        body = request_policy.read_body(await self._receive(request, entry), route)
        slot = slots.get(body["model"])
        if slot is None:
            raise Refusal(404, "model_not_found", "There is no such model for this key.", "model")
        entry.service, entry.release, entry.slot = body["model"], slot.release, slot.kind
        if slot.mode not in route.modes:
            raise Refusal(
                400, "wrong_mode", f"The model does not serve {route.path}; it is for {slot.mode}."
            )
        return await self._forward(request, entry, route, slot, body)

    def _authenticate(self, request: web.BaseRequest, entry: Entry) -> api_keys.KeyRecord:
        text = request_policy.credential(request.headers.items())
        if text is None:
            raise Refusal(401, "no_key", "This route needs an API key.")
        verdict = api_keys.verify(text, self._keys.get(), datetime.now(timezone.utc))
        if verdict.record is not None:
            entry.key = verdict.record.id
        if verdict.state != api_keys.OK or verdict.record is None:
            raise Refusal(401, *_KEY_REFUSALS[verdict.state])
        return verdict.record

    async def _receive(self, request: web.BaseRequest, entry: Entry) -> bytes:
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            raise Refusal(415, "unsupported_media", "The body must be plain application/json.")
        data = bytearray()
        try:
            await asyncio.wait_for(_read(request, data), self._settings.body_timeout)
        except asyncio.TimeoutError as exc:
            raise Refusal(408, "body_timeout", "The body did not arrive in time.") from exc
        finally:
            entry.prompt_bytes = len(data)
            entry.prompt_sha256 = hashlib.sha256(data).hexdigest()
        return bytes(data)

    # -- answers ---------------------------------------------------------------------------

    async def _forward(
        self,
        request: web.BaseRequest,
        entry: Entry,
        route: Route,
        slot: Slot,
        body: dict[str, Any],
    ) -> web.StreamResponse:
        payload = request_policy.serialise(body)
        tokens = Tokens()
        try:
            async with self._runtimes.post(slot.release, route.upstream, payload) as answer:
                if answer.status != 200:
                    raise await _backend_refusal(answer)
                if answer.content_type == "text/event-stream":
                    return await self._stream(request, entry, answer, tokens)
                return await self._document(entry, answer, tokens)
        finally:
            entry.prompt_tokens, entry.completion_tokens = tokens.prompt, tokens.completion

    async def _document(
        self, entry: Entry, answer: aiohttp.ClientResponse, tokens: Tokens
    ) -> web.Response:
        try:
            data = await _read_answer(answer, _MAX_ANSWER_BYTES)
            data = clean_document(data, tokens, max_bytes=_MAX_ANSWER_BYTES)
        except AirlockError as exc:
            raise Refusal(502, "backend_broken", "The service gave no valid answer.") from exc
        return answers.body(200, data, entry)

    async def _stream(
        self,
        request: web.BaseRequest,
        entry: Entry,
        answer: aiohttp.ClientResponse,
        tokens: Tokens,
    ) -> web.StreamResponse:
        entry.status = 200
        response = web.StreamResponse(headers=answers.headers(entry, "text/event-stream"))
        cleaner, digest = EventCleaner(tokens), hashlib.sha256()
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                data = cleaner.feed(chunk)
                if data:
                    if entry.ttft_ms is None:
                        entry.ttft_ms = entry.elapsed_ms()
                    await response.write(data)
                    digest.update(data)
                    entry.response_bytes += len(data)
                    if entry.response_bytes > _MAX_ANSWER_BYTES:
                        raise AirlockError("the backend's answer has no end.")
            cleaner.finish()
            await response.write_eof()
        except (AirlockError, aiohttp.ClientPayloadError, asyncio.TimeoutError):
            # Too late for a status: without its last chunk the client sees it as incomplete.
            entry.reason = "backend_broken"
            _abort(request)
        except OSError as exc:
            raise ClientGone from exc
        finally:
            entry.response_sha256 = digest.hexdigest()
        return response

    def _finish(
        self, request: web.BaseRequest, entry: Entry, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        entry.ms = entry.elapsed_ms()
        try:
            self._trail.write(entry)
        except AuditError as exc:
            if response is not None and not response.prepared:
                response = answers.unaudited(exc, entry)
            self._trail.owe(entry)
        if response is None:
            _abort(request)
            return web.Response(status=_CLIENT_GONE)
        return response


async def _unless_gone(
    request: web.BaseRequest, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """Run ``work``, and stop it (and with it the runtime) when the client hangs up.

    aiohttp tells a handler of that only when it writes, which a runtime that is still reading the
    prompt does not do.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_GONE_POLL_SECONDS))[0]:
            if request.transport is None or request.transport.is_closing():
                raise ClientGone
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _read(request: web.BaseRequest, into: bytearray) -> None:
    async for chunk in request.content.iter_any():
        into += chunk
        if len(into) > request_policy.MAX_BODY_BYTES:
            raise Refusal(
                413,
                "body_too_large",
                f"The body is larger than {request_policy.MAX_BODY_BYTES} bytes.",
            )


async def _read_answer(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise AirlockError("the backend's answer is too large.")
    return bytes(data)


async def _backend_refusal(answer: aiohttp.ClientResponse) -> Refusal:
    if answer.status == 503:
        return Refusal(503, "backend_unavailable", "The service is still loading its model.")
    if not 400 <= answer.status < 500:
        return Refusal(502, "backend_broken", "The service failed on this request.")
    try:
        message = json.loads(await _read_answer(answer, _MAX_ERROR_BYTES))["error"]["message"]
    except (AirlockError, ValueError, KeyError, TypeError):
        message = "The service refused this request."
    return Refusal(400, "backend_refused", str(message)[:_MAX_ERROR_TEXT])


def _client(request: web.BaseRequest) -> str | None:
    """Return the address that the edge saw; only the edge can reach the socket."""
    try:
        address = ipaddress.ip_address(request.headers.get("X-Airlock-Client", ""))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
