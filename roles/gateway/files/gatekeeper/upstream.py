# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to the runtimes, each behind a Unix socket of its own.

systemd gives the directory of that socket to the user of the release (RuntimeDirectory=), so whoever
listens there as anybody else is no runtime, and is sent nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from airlock.request_policy import Refusal
from peers import uid_of
from yarl import URL

_CONNECT_SECONDS = 5
# Only what is needed: nothing of the client's headers travels on.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class _Connector(aiohttp.UnixConnector):
    """Connects to the user alone that has the directory of the socket."""

    async def _create_connection(self, *arguments: Any) -> Any:
        protocol = await super()._create_connection(*arguments)
        listens, owner = uid_of(protocol.transport), os.stat(os.path.dirname(self.path)).st_uid
        if listens != owner:
            print(f"gatekeeper: user {listens} listens at {self.path}", file=sys.stderr, flush=True)
            protocol.close()
            raise Refusal(503, "backend_unavailable", "The service is not running.")
        return protocol


class Runtimes:
    """Opens one connection per request, so that no two requests ever share one.

    ``idle_seconds`` may pass between two parts of an answer, ``answer_seconds`` until its end.
    """

    def __init__(self, directory: Path, idle_seconds: int, answer_seconds: int):
        self._directory = directory
        self._timeout = aiohttp.ClientTimeout(
            total=answer_seconds, sock_connect=_CONNECT_SECONDS, sock_read=idle_seconds
        )
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @contextlib.asynccontextmanager
    async def post(
        self, release: str, path: str, body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send ``body`` to ``path`` of a release. Raises Refusal (503, 504, 502)."""
        try:
            async with self._session(release).post(
                _url(path), data=body, headers=_HEADERS, allow_redirects=False
            ) as response:
                yield response
        except aiohttp.ClientConnectorError as exc:
            raise Refusal(503, "backend_unavailable", "The service is not running.") from exc
        except asyncio.TimeoutError as exc:
            raise Refusal(504, "backend_timeout", "The service did not answer in time.") from exc
        except aiohttp.ClientError as exc:
            raise Refusal(502, "backend_broken", "The service broke off its answer.") from exc

    def _session(self, release: str) -> aiohttp.ClientSession:
        if release not in self._sessions:
            self._sessions[release] = aiohttp.ClientSession(
                connector=_Connector(
                    str(self._directory / release / "http.sock"), force_close=True, limit=0
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["User-Agent", "Accept"],
                timeout=self._timeout,
            )
        return self._sessions[release]

    async def close(self) -> None:
        """Close every session."""
        for session in self._sessions.values():
            await session.close()


@functools.lru_cache(maxsize=64)
def _url(path: str) -> URL:
    return URL.build(scheme="http", host="runtime", path=path)
