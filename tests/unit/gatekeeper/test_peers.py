# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the gatekeeper listens to, and whom it asks."""

from __future__ import annotations

import asyncio
import http.client
import os
import pwd
from collections.abc import Callable
from types import ModuleType

import pytest

from .conftest import House


def another_user() -> str:
    return next(user.pw_name for user in pwd.getpwall() if user.pw_uid != os.getuid())


def test_nobody_but_the_edge_is_listened_to(cold_house: House) -> None:
    cold_house.peer = another_user()
    cold_house.start()
    for _again in range(2):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            cold_house.ask("GET", "/health")
    assert f"refused a connection of user {os.getuid()}" in cold_house.stop()
    assert cold_house.entries() == []


def test_who_listens_in_the_place_of_a_runtime_gets_no_prompt(
    house: House, gatekeeper: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = gatekeeper("upstream")

    async def ask() -> int:
        runtimes = upstream.Runtimes(house.base / "run", 5, 30)
        try:
            async with runtimes.post("chat-1", "/v1/chat/completions", b"{}") as answer:
                return int(answer.status)
        finally:
            await runtimes.close()

    assert asyncio.run(ask()) == 200
    monkeypatch.setattr(upstream, "uid_of", lambda _transport: os.getuid() + 1)
    with pytest.raises(upstream.Refusal) as caught:
        asyncio.run(ask())
    assert (caught.value.status, caught.value.code) == (503, "backend_unavailable")
    assert len(house.runtime.requests) == 1
