# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a request: route, key, body, runtime, answer, audit line."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import sys
from typing import Any, cast

import aiohttp
import answers
import bodies
from aiohttp import web
from airlock import dialects, guardrail, request_policy, response_policy, routes
from airlock.errors import AirlockError
from airlock.output_answer import Stopped
from airlock.request_policy import Refusal, Route
from airlock.response_policy import Cleaner, EventCleaner, Largest, Tokens
from aside import Aside
from audit import AuditError, Entry, Trail
from callers import Caller, Callers
from config import Followed, Settings, Slot
from flights import ClientGone, Flights
from isolation import Isolation
from limits import Limits, bounded
from metrics import Metrics
from models import Models
from screening import Guard, Screening
from seen import seen
from upstream import Runtimes

_MAX_STREAM_BYTES = 64 * 1024 * 1024
_STOP_SECONDS = 5
_MAX_CONTENT_TYPE = 128  # characters; what is longer takes long to take apart
_CLIENT_GONE = 499  # the status that nginx made customary for it; never sent


class Gate:
    """Serves requests; everything that it knows is given to it."""

    def __init__(
        self,
        catalogue: routes.Catalogue,
        callers: Callers,
        isolation: Isolation,
        slots: Followed[dict[str, Slot]],
        runtimes: Runtimes,
        trail: Trail,
        settings: Settings,
        models: Models,
        metrics: Metrics,
        screening: Screening,
    ):
        self._catalogue = catalogue
        self._callers = callers
        self._isolation = isolation
        self._slots = slots
        self._runtimes = runtimes
        self._trail = trail
        self._settings = settings
        self._models = models
        self._metrics = metrics
        self._screening = screening
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._limits = Limits(settings.max_concurrent, settings.max_concurrent_per_key)
        self._flights = Flights()
        self._aside = Aside()
        self._salt = secrets.token_bytes(32)
        self._leaving = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; every path out of here has its record, or the request is refused."""
        entry = seen(request)
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._in_flight.add(task)
        try:
            await self._trail.ready()
            response = await self._finish(request, entry, await self._answer(request, entry))
            self._parted(response)
            return response
        except AuditError as exc:
            self._trail.miss()
            response = answers.unaudited(exc, entry)
            self._metrics.observe(entry)
            return response
        finally:
            self._in_flight.discard(task)

    async def _answer(self, request: web.BaseRequest, entry: Entry) -> web.StreamResponse | None:
        """Return the answer, None when nobody is there to get it. Raises AuditError."""
        try:
            return await self._serve(request, entry)
        except Refusal as exc:
            return self._refused(request, exc, entry)
        except ClientGone:
            entry.status, entry.reason = _CLIENT_GONE, "client_gone"
        except asyncio.CancelledError:  # it has outlived the drain
            entry.status, entry.reason = entry.status or 503, "gateway_stopped"
        except AuditError:
            raise
        except (AirlockError, OSError) as exc:
            # One of the followed files is unreadable: nothing is known, so nothing passes.
            print(f"gatekeeper: {exc}", file=sys.stderr, flush=True)
            refusal = Refusal(503, "not_configured", "The gateway is not configured.")
            return self._refused(request, refusal, entry)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it leaves its record
            print(f"gatekeeper: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
            refusal = Refusal(500, "internal", "The gateway failed on this request.")
            return self._refused(request, refusal, entry)
        return None

    def unreadable(self, request: web.BaseRequest, status: int) -> web.StreamResponse:
        """Answer what is no request, or failed outside of ``handle``, and leave its record."""
        entry = seen(request)
        code = "bad_request" if status < 500 else "internal"
        text = "This is not a request that can be read." if status < 500 else "The gateway failed."
        response = answers.refused(Refusal(status, code, text), entry)
        entry.ms = entry.elapsed_ms()
        self._metrics.observe(entry)
        task = asyncio.ensure_future(self._trail.owe(entry))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return response

    def _refused(
        self, request: web.BaseRequest, exc: Refusal, entry: Entry
    ) -> web.StreamResponse | None:
        """Return the answer that says why; None when a stream has begun, which is then cut."""
        if entry.status:
            entry.reason = exc.code
            return None
        return answers.refused(
            exc, entry, self._catalogue.dialect(request.method, request.raw_path)
        )

    async def drain(self, seconds: float) -> None:
        """Wait until no request is in flight; those that are after ``seconds`` are broken off."""
        self._leaving = True
        await self._idle(seconds)
        for task in self._in_flight:
            task.cancel()
        await self._idle(_STOP_SECONDS)

    def _parted(self, response: web.StreamResponse) -> None:
        """Have a connection end with its answer once the gatekeeper leaves: what follows is for its successor."""
        if self._leaving:
            response.force_close()

    async def _idle(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self._in_flight and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    # -- decisions -------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest, entry: Entry) -> web.StreamResponse:
        served = self._catalogue.find(request.method, request.raw_path)
        entry.route = served.path
        if served.kind == routes.HEALTH:
            return answers.document(200, {"status": "ok"}, entry)
        known = self._slots.get()
        served.need(slot.backend for slot in known.values())
        caller = self._callers.admit(request, entry)
        caller.require_route(served.path)
        slots = {name: known.get(name) for name in caller.scope.services}
        if served.kind == routes.LIST:
            self._limits.count(caller)
            names = [
                name for name, slot in slots.items() if slot and slot.backend in served.backends
            ]
            dialect = _list_dialect(request, served)
            return answers.document(200, answers.models(dialect, names), entry)
        with (
            self._limits.turn(caller),
            self._flights.watched(
                request, lambda: self._callers.recheck(caller, served.path, entry.service)
            ),
        ):
            return await self._infer(request, entry, served, slots, caller)

    async def _infer(
        self,
        request: web.BaseRequest,
        entry: Entry,
        served: routes.Served,
        slots: dict[str, Slot | None],
        caller: Caller,
    ) -> web.StreamResponse:
        body = request_policy.parse_body(await self._receive(request, entry))
        model = request_policy.model_of(body)
        slot = slots.get(model)
        if slot is None:
            raise Refusal(404, "model_not_found", "There is no such model for this key.", "model")
        entry.service, entry.release, entry.slot = model, slot.release, slot.kind
        entry.model, entry.model_sha256 = self._models.of(slot.release)
        route = bounded(served.on(slot.backend), caller.scope)
        if slot.mode not in route.modes:
            raise Refusal(
                400, "wrong_mode", f"The model does not serve {route.path}; it is for {slot.mode}."
            )
        body = request_policy.check_body(body, route)
        guard = self._screening.of(caller.scope, route.dialect, entry)
        await guard.check(body)
        body = guardrail.apply(route.dialect, body, caller.scope.guardrail or "")
        if route.salt:
            body[route.salt] = hmac.new(
                self._salt, repr(caller.name).encode(), "sha256"
            ).hexdigest()
        with self._limits.spend(caller, route, body, entry) as tokens:
            async with self._isolation.lend(slot, route, caller, body, entry):
                return await self._forward(request, entry, route, slot, body, guard, tokens)

    async def _receive(self, request: web.BaseRequest, entry: Entry) -> bytes:
        if (
            len(request.headers.get("Content-Type", "")) > _MAX_CONTENT_TYPE
            or request.content_type != "application/json"
            or "Content-Encoding" in request.headers
        ):
            raise Refusal(415, "unsupported_media", "The body must be plain application/json.")
        data = bytearray()
        try:
            await bodies.receive(request, data, self._settings.body_timeout)
        except asyncio.TimeoutError as exc:
            raise Refusal(408, "body_timeout", "The body did not arrive in time.") from exc
        except OSError as exc:
            raise ClientGone from exc
        finally:
            entry.prompt, entry.prompt_bytes = bytes(data), len(data)
            entry.prompt_sha256 = hashlib.sha256(data).hexdigest()
        return entry.prompt

    # -- answers ---------------------------------------------------------------------------

    async def _forward(
        self,
        request: web.BaseRequest,
        entry: Entry,
        route: Route,
        slot: Slot,
        body: dict[str, Any],
        guard: Guard,
        tokens: Tokens,
    ) -> web.StreamResponse:
        payload = request_policy.serialise(body)
        same = payload == entry.prompt
        entry.sent_sha256 = entry.prompt_sha256 if same else hashlib.sha256(payload).hexdigest()
        cleaner = Cleaner(route.dialect, body["model"], tokens, guard)
        limit = response_policy.largest(route.dialect, body)
        await self._trail.let_through(entry)
        try:
            # The header of the answer, whatever comes before it; then its end, whoever is waited for.
            self._flights.expect(self._settings.idle_timeout)
            async with self._runtimes.post(slot.release, route.path, payload) as answer:
                self._flights.expect(self._settings.answer_timeout)
                if answer.status != 200:
                    raise await bodies.refusal(answer, guard.text)
                if answer.content_type == dialects.stream_type(route.dialect):
                    return await self._stream(request, entry, answer, cleaner)
                return await self._document(entry, answer, cleaner, limit)
        finally:
            entry.prompt_tokens, entry.completion_tokens = tokens.prompt, tokens.completion
            guard.note()

    async def _document(
        self, entry: Entry, answer: aiohttp.ClientResponse, cleaner: Cleaner, limit: Largest
    ) -> web.Response:
        try:
            data = await self._aside.whole(
                entry.release or "", answer, limit.size, lambda data: cleaner.document(data, limit)
            )
        except Stopped as exc:
            raise Refusal(502, exc.code, str(exc)) from exc
        except AirlockError as exc:
            raise Refusal(502, "backend_broken", "The service gave no valid answer.") from exc
        return answers.body(200, data, entry)

    async def _stream(
        self,
        request: web.BaseRequest,
        entry: Entry,
        answer: aiohttp.ClientResponse,
        cleaner: Cleaner,
    ) -> web.StreamResponse:
        entry.status = 200
        response = web.StreamResponse(headers=answers.headers(entry, answer.content_type))
        self._parted(response)
        events, digest, came = EventCleaner(cleaner), hashlib.sha256(), 0

        async def send(data: bytes) -> None:
            if data:
                if entry.ttft_ms is None:
                    entry.ttft_ms = entry.elapsed_ms()
                await response.write(data)
                digest.update(data)
                entry.keep(data)
                entry.response_bytes += len(data)

        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                came += len(chunk)
                if max(came, entry.response_bytes) > _MAX_STREAM_BYTES:
                    raise AirlockError("the backend's answer has no end.")
                await send(
                    await self._aside.fed(entry.release or "", events.feed, chunk, events.waiting)
                )
            await send(events.finish())  # the end of the answer is sent once it is on record
        except Stopped as exc:
            entry.reason = exc.code
            with contextlib.suppress(OSError):
                await response.write(dialects.broken(cleaner.dialect, exc.code, str(exc)))
            _abort(request)
        except (AirlockError, aiohttp.ClientPayloadError, asyncio.TimeoutError):
            # Too late for a status: besides the error, the client sees an answer without its end.
            entry.reason = "backend_broken"
            with contextlib.suppress(OSError):
                await response.write(dialects.broken(cleaner.dialect))
            _abort(request)
        except OSError as exc:
            raise ClientGone from exc
        finally:
            entry.response_sha256 = digest.hexdigest()
        return response

    async def _finish(
        self, request: web.BaseRequest, entry: Entry, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        """Return what is sent once the record of the request is written. Raises AuditError."""
        entry.ms = entry.elapsed_ms()
        try:
            await self._trail.finish(entry)
        except AuditError as exc:
            if response is not None and not response.prepared:
                response = answers.unaudited(exc, entry)
            else:
                _abort(request)  # without its end the client sees the answer as incomplete
        self._metrics.observe(entry)
        if response is None:
            _abort(request)
            return web.Response(status=_CLIENT_GONE)
        return response


def _list_dialect(request: web.BaseRequest, served: routes.Served) -> str:
    """Return the dialect of a list of models: two of them have it at the same path."""
    anthropic = served.dialect == routes.MODELS and "anthropic-version" in request.headers
    return dialects.MESSAGES if anthropic else served.dialect


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
