# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP as aiohttp speaks it, but for what it would say by itself: that is answered and recorded as the rest."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web
from gate import Gate
from peers import Door

# More than the buffer of the edge holds (tune.bufsize): what has passed there is read here, too.
_MAX_HEADER_BYTES = 32 * 1024
_UNREADABLE = b"\0\r\n\r\n"  # for every parser


class _Connection(web.RequestHandler):
    """A connection whose errors are the gate's."""

    def __init__(self, gate: Gate, manager: web.Server):
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        self._gate = gate

    def data_received(self, data: bytes) -> None:
        """Take what came; aiohttp 3.8 fails on some targets in place of calling them a bad request."""
        try:
            super().data_received(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it leaves its record
            self.log_exception(exc_info=exc)
            super().data_received(_UNREADABLE)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        _message: str | None = None,
    ) -> web.StreamResponse:
        """Answer without what came; called for what is no HTTP, and when a handler failed."""
        self.log_exception(exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("an answer has begun already")
        return self._gate.unreadable(request, status)

    def log_exception(self, *_said: Any, **options: Any) -> None:
        """Name what happened: a traceback could hold what a client sent."""
        print(f"gatekeeper: {type(options.get('exc_info')).__name__}", file=sys.stderr, flush=True)


class Server(Door):
    """Makes connections of the user ``peer`` to ``gate``."""

    def __init__(self, gate: Gate, peer: int):
        super().__init__(peer, gate.handle)
        self._gate = gate

    def __call__(self) -> web.RequestHandler:
        """Return the next connection."""
        return _Connection(self._gate, self)
