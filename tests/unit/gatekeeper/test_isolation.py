# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which place of a runtime, and whose prompt it may remember there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from .conftest import House, configure

RELEASE = "chat-1a2b3c4d"
SLOT = SimpleNamespace(release=RELEASE, backend="llama_cpp")
ROUTE = SimpleNamespace(path="/v1/chat/completions", salt="")
OTHER_ROUTE = SimpleNamespace(path="/v1/messages", salt="")
ALICE, BOB = (SimpleNamespace(name=(name, "")) for name in ("alice", "bob"))
LATER = 61.0


@pytest.fixture(scope="module")
def module(gatekeeper: Callable[[str], ModuleType]) -> ModuleType:
    return gatekeeper("isolation")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Asks for places as the gate does."""

    def __init__(self, module: ModuleType, directory: Path, **flags: Any):
        configure(directory, RELEASE, **flags)
        self.clock = Clock()
        self.refusal = module.Refusal
        self._isolation = module.Isolation(directory, self.clock)

    def lend(self, caller: Any, body: dict[str, Any], entry: Any, route: Any = ROUTE) -> Any:
        return self._isolation.lend(SLOT, route, caller, body, entry)

    async def ask(self, caller: Any, route: Any = ROUTE, **body: Any) -> dict[str, Any]:
        """Ask for a place for one request that ends well; return the body that the runtime gets."""
        self.clock.now += 1
        async with self.lend(caller, body, SimpleNamespace(reason="ok"), route):
            await asyncio.sleep(0)
        return body


@pytest.fixture
def desk(module: ModuleType, tmp_path: Path) -> Desk:
    return Desk(module, tmp_path, parallel=2)


def test_only_the_last_user_of_a_place_finds_a_prompt_there(desk: Desk) -> None:
    async def work() -> None:
        await desk.ask(ALICE)
        desk.clock.now = LATER
        assert await desk.ask(ALICE) == {"id_slot": 1, "cache_prompt": False}
        assert await desk.ask(ALICE) == {"id_slot": 1, "cache_prompt": True}
        assert await desk.ask(BOB) == {"id_slot": 0, "cache_prompt": False}
        assert await desk.ask(ALICE) == {"id_slot": 1, "cache_prompt": True}
        carol = SimpleNamespace(name=("alice", "carol"))  # somebody else behind the same key
        assert await desk.ask(carol) == {"id_slot": 0, "cache_prompt": False}
        assert await desk.ask(BOB) == {"id_slot": 1, "cache_prompt": False}
        assert await desk.ask(ALICE) == {"id_slot": 0, "cache_prompt": False}

    asyncio.run(work())


def test_a_place_is_lent_to_one_request_at_a_time(desk: Desk) -> None:
    async def work() -> None:
        leave = asyncio.Event()
        bodies: list[dict[str, Any]] = [{} for _one in range(3)]

        async def hold(body: dict[str, Any]) -> None:
            async with desk.lend(ALICE, body, SimpleNamespace(reason="ok")):
                await leave.wait()

        tasks = [asyncio.ensure_future(hold(body)) for body in bodies]
        await asyncio.sleep(0.01)
        assert [body.get("id_slot") for body in bodies] == [0, 1, None]
        leave.set()
        await asyncio.gather(*tasks)
        assert bodies[2]["id_slot"] in (0, 1)

    asyncio.run(work())


def test_what_did_not_end_well_leaves_no_owner_for_a_while(desk: Desk) -> None:
    async def work() -> None:
        desk.clock.now = LATER
        await desk.ask(BOB)
        for moment, reason in ((LATER, "backend_broken"), (3 * LATER, "gateway_stopped")):
            desk.clock.now = moment
            await desk.ask(ALICE)
            async with desk.lend(ALICE, body := {}, SimpleNamespace(reason=reason)):
                assert body["cache_prompt"]
            for _again in range(2):
                assert await desk.ask(ALICE) == {**body, "cache_prompt": False}
            desk.clock.now += LATER
            assert not (await desk.ask(ALICE))["cache_prompt"]
            assert (await desk.ask(ALICE))["cache_prompt"]

    asyncio.run(work())


def test_a_request_that_the_runtime_refused_owns_nothing(desk: Desk) -> None:
    """Its place may still hold the prompt of whoever was there before."""

    async def work() -> None:
        desk.clock.now = LATER
        await desk.ask(ALICE)
        for code, settled in (("backend_refused", True), ("backend_timeout", False)):
            await desk.ask(BOB)
            with suppress(desk.refusal):
                async with desk.lend(BOB, body := {}, SimpleNamespace(reason="ok")):
                    raise desk.refusal(400, code, "No.")
            assert body["cache_prompt"]
            assert not (await desk.ask(BOB))["cache_prompt"]
            assert (await desk.ask(BOB))["cache_prompt"] is settled

    asyncio.run(work())


@pytest.mark.parametrize(
    ("route", "body"),
    [(ROUTE, {"n": 2}), (ROUTE, {"prompt": ["a", "b"]}), (OTHER_ROUTE, {"max_tokens": 1})],
)
def test_what_takes_any_place_waits_for_all_and_leaves_none_trusted(
    desk: Desk, route: Any, body: dict[str, Any]
) -> None:
    async def work() -> None:
        desk.clock.now = LATER
        await desk.ask(ALICE)
        assert (await desk.ask(ALICE))["cache_prompt"]
        held = desk.lend(ALICE, {}, SimpleNamespace(reason="ok"))
        await held.__aenter__()
        waiting = [asyncio.ensure_future(desk.ask(BOB, route, **body)) for _one in range(2)]
        await asyncio.sleep(0.01)
        assert not any(one.done() for one in waiting)
        await held.__aexit__(None, None, None)
        assert await asyncio.gather(*waiting) == [body, body]
        assert not (await desk.ask(ALICE))["cache_prompt"]
        assert (await desk.ask(ALICE))["cache_prompt"]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("mode", "backend", "salt"), [("embedding", "llama_cpp", ""), (None, "vllm", "cache_salt")]
)
def test_runtimes_that_remember_nothing_of_others_are_left_alone(
    module: ModuleType, tmp_path: Path, mode: str | None, backend: str, salt: str
) -> None:
    async def work() -> None:
        if mode:
            configure(tmp_path, RELEASE, mode=mode)
        isolation = module.Isolation(tmp_path, Clock())
        slot, route = SimpleNamespace(release=RELEASE, backend=backend), SimpleNamespace(salt=salt)
        body: dict[str, Any] = {}
        async with isolation.lend(slot, route, ALICE, body, SimpleNamespace(reason="ok")):
            assert body == {}

    asyncio.run(work())


@pytest.mark.parametrize("backend", ["vllm", "ollama"])
def test_a_backend_that_cannot_keep_callers_apart_is_refused(
    module: ModuleType, tmp_path: Path, backend: str
) -> None:
    async def work() -> None:
        configure(tmp_path, RELEASE)
        isolation = module.Isolation(tmp_path, Clock())
        slot = SimpleNamespace(release=RELEASE, backend=backend)
        with pytest.raises(module.Refusal) as caught:
            async with isolation.lend(slot, ROUTE, ALICE, {}, SimpleNamespace(reason="ok")):
                pytest.fail("it was let in")
        assert (caught.value.status, caught.value.code) == (503, "not_isolated")

    asyncio.run(work())


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_release_without_its_configuration_is_refused_until_that_is_there(
    house: House, text: str | None
) -> None:
    house.place_slots("chat-3")
    if text is not None:
        (house.base / "releases/chat-3.json").write_text(text)
    status, answer = house.chat()
    assert (status, answer["error"]["code"]) == (503, "not_configured")
    assert house.entries()[-1]["reason"] == "not_configured"
    configure(house.base / "releases", "chat-3")
    status, answer = house.chat()  # nothing runs there, which is another matter
    assert (status, answer["error"]["code"]) == (503, "backend_unavailable")


@pytest.mark.parametrize("seed", range(60))
def test_nobody_ever_finds_the_prompt_of_another(
    module: ModuleType, tmp_path: Path, seed: int
) -> None:
    """A model of the runtime: requests arrive late and in any order, places take the first that comes.

    Who hung up hears nothing of an answer, nor when it came.
    """
    chance = random.Random(seed)  # noqa: S311 - it only has to be repeatable
    desk = Desk(module, tmp_path, parallel=2)
    callers = [SimpleNamespace(name=(name, "")) for name in "abb"]
    found: list[tuple[str, str]] = []

    desk.clock.now = LATER

    async def work() -> None:
        places = [""] * 2
        busy = [asyncio.Lock() for _place in places]

        async def runtime(name: str, body: dict[str, Any], heard: bool) -> None:
            for _tick in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for _answer in range(body.get("n", 1)):
                place = body.get("id_slot", chance.randrange(2))
                async with busy[place]:
                    if body.get("cache_prompt") and heard:
                        found.append((name, places[place]))
                    places[place] = name
                    await asyncio.sleep(0)

        late: list[asyncio.Future[None]] = []

        async def client(caller: Any) -> None:
            for _request in range(60):
                # Whatever is on its way arrives before its places are trusted again.
                desk.clock.now += 1 if any(not one.done() for one in late) else LATER
                body: dict[str, Any] = {"n": 2} if chance.random() < 0.05 else {}
                entry = SimpleNamespace(reason="ok")
                with suppress(desk.refusal):
                    async with desk.lend(caller, body, entry):
                        fate = chance.random()
                        if fate < 0.05:
                            raise desk.refusal(400, "backend_refused", "No.")
                        heard = fate >= 0.10
                        answer = asyncio.ensure_future(runtime(caller.name[0], dict(body), heard))
                        if not heard:
                            late.append(answer)  # the client hangs up, the request is on its way
                            entry.reason = "client_gone"
                        else:
                            await answer

        await asyncio.gather(*map(client, callers))
        await asyncio.gather(*late)

    asyncio.run(work())
    assert len(found) > 20
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_the_gatekeeper_says_it_to_the_runtime(cold_house: House) -> None:
    configure(cold_house.base / "releases", "chat-1", parallel=1)
    cold_house.start()
    for fields in ({}, {"n": 2}):
        assert cold_house.chat(**fields)[0] == 200
    pinned, several = (body for _path, _headers, body in cold_house.runtime.requests)
    assert (pinned["id_slot"], pinned["cache_prompt"]) == (0, False)
    assert ("id_slot" in several, several["cache_prompt"]) == (False, False)


@pytest.mark.parametrize("route", [ROUTE, OTHER_ROUTE])
def test_waiting_for_a_place_has_an_end(
    desk: Desk, module: ModuleType, monkeypatch: pytest.MonkeyPatch, route: Any
) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.05)

    async def work() -> None:
        async with desk.lend(ALICE, {}, SimpleNamespace(reason="ok"), OTHER_ROUTE):  # all of them
            with pytest.raises(module.Limited):
                await desk.ask(BOB, route)
        await desk.ask(BOB, OTHER_ROUTE)  # nothing was lost while it waited

    asyncio.run(work())
