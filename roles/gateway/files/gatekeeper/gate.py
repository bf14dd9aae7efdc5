# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a request: route, key, body, runtime, answer, audit line."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, cast

import aiohttp
import answers
import bodies
from aiohttp import web
from airlock import api_keys, request_policy
from airlock.errors import AirlockError
from airlock.request_policy import Refusal, Route
from airlock.response_policy import EventCleaner, Tokens, clean_document
from audit import AuditError, Entry, Trail
from config import Followed, Keys, Settings, Slot
from upstream import Runtimes

_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_GONE_POLL_SECONDS = 0.2
_STOP_SECONDS = 5
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
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._turns: Counter[str] = Counter()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; every path out of here has written its audit line."""
        entry = Entry(secrets.token_hex(8), request.method[:16], client=_client(request))
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._in_flight.add(task)
        response: web.StreamResponse | None = None
        try:
            self._trail.ready()
            response = await _unless_gone(request, self._serve(request, entry))
        except Refusal as exc:
            response = answers.refused(exc, entry)
        except ClientGone:
            entry.status, entry.reason = _CLIENT_GONE, "client_gone"
        except asyncio.CancelledError:  # it has outlived the drain
            entry.status, entry.reason = entry.status or 503, "gateway_stopped"
        except AuditError as exc:
            return answers.unaudited(exc, entry)
        except (AirlockError, OSError) as exc:
            # One of the followed files is unreadable: nothing is known, so nothing passes.
            print(f"gatekeeper: {exc}", file=sys.stderr, flush=True)
            response = answers.refused(
                Refusal(503, "not_configured", "The gateway is not configured."), entry
            )
        except Exception as exc:  # noqa: BLE001 - whatever it is, it leaves its line
            print(f"gatekeeper: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
            response = answers.refused(
                Refusal(500, "internal", "The gateway failed on this request."), entry
            )
        finally:
            self._in_flight.discard(task)
        return self._finish(request, entry, response)

    async def drain(self, seconds: float) -> None:
        """Wait until no request is in flight; those that are after ``seconds`` are broken off."""
        await self._idle(seconds)
        for task in self._in_flight:
            task.cancel()
        await self._idle(_STOP_SECONDS)

    async def _idle(self, seconds: float) -> None:
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
        with self._turn(record.id):
            body = request_policy.read_body(await self._receive(request, entry), route)
            return await self._dispatch(request, entry, route, slots, body)

    async def _dispatch(
        self,
        request: web.BaseRequest,
        entry: Entry,
        route: Route,
        slots: dict[str, Slot | None],
        body: dict[str, Any],
    ) -> web.StreamResponse:
        slot = slots.get(body["model"])
        if slot is None:
            raise Refusal(404, "model_not_found", "There is no such model for this key.", "model")
        entry.service, entry.release, entry.slot = body["model"], slot.release, slot.kind
        if slot.mode not in route.modes:
            raise Refusal(
                400, "wrong_mode", f"The model does not serve {route.path}; it is for {slot.mode}."
            )
        return await self._forward(request, entry, route, slot, body)

    @contextmanager
    def _turn(self, key: str) -> Iterator[None]:
        """Count a request of ``key`` while it is served: nobody may have it all. Raises Refusal."""
        if self._turns.total() >= self._settings.max_concurrent:
            raise Refusal(429, "busy", "The gateway serves as many requests as it may; try again.")
        if self._turns[key] >= self._settings.max_concurrent_per_key:
            raise Refusal(429, "key_busy", "This key has as many requests as it may; try again.")
        self._turns[key] += 1
        try:
            yield
        finally:
            self._turns[key] -= 1

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
            await asyncio.wait_for(bodies.receive(request, data), self._settings.body_timeout)
        except asyncio.TimeoutError as exc:
            raise Refusal(408, "body_timeout", "The body did not arrive in time.") from exc
        except OSError as exc:
            raise ClientGone from exc
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
                    raise await bodies.refusal(answer)
                if answer.content_type == "text/event-stream":
                    return await self._stream(request, entry, answer, tokens)
                return await self._document(entry, answer, tokens)
        finally:
            entry.prompt_tokens, entry.completion_tokens = tokens.prompt, tokens.completion

    async def _document(
        self, entry: Entry, answer: aiohttp.ClientResponse, tokens: Tokens
    ) -> web.Response:
        try:
            data = await bodies.whole(answer, _MAX_ANSWER_BYTES)
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
