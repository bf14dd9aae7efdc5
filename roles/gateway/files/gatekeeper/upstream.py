# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to the runtimes, each behind a Unix socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from airlock.request_policy import Refusal

_CONNECT_SECONDS = 5
# Only what is needed: nothing of the client's headers travels on.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class Runtimes:
    """Opens one connection per request, so that no two requests ever share one."""

    def __init__(self, directory: Path, idle_seconds: int):
        self._directory = directory
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle_seconds
        )
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @contextlib.asynccontextmanager
    async def post(
        self, release: str, path: str, body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send ``body`` to ``path`` of a release. Raises Refusal (503, 504, 502)."""
        try:
            async with self._session(release).post(
                f"http://runtime{path}", data=body, headers=_HEADERS, allow_redirects=False
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
                connector=aiohttp.UnixConnector(
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
