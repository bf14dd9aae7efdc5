# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import releases_slots as slots
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def wanted(release: str, mode: str = "chat") -> dict[str, str]:
    return {"service": release.partition("-")[0], "release": release, "mode": mode}


def after(*releases: str) -> slots.Slots:
    """Return the slots of chat after these releases, one after the other."""
    state = slots.keep({}, [wanted(releases[0])])
    for release in releases[1:]:
        state = slots.promote(state, wanted(release))
    return state


def chat(state: slots.Slots) -> list[Any]:
    return [state["chat"][kind] for kind in slots.KINDS]


def test_three_releases_are_remembered() -> None:
    assert chat(after("chat-1")) == ["chat-1", None, None, None]
    assert chat(after("chat-1", "chat-2")) == ["chat-2", "chat-1", None, None]
    four = after("chat-1", "chat-2", "chat-3", "chat-4")
    assert chat(four) == ["chat-4", "chat-3", "chat-2", None]
    assert slots.pointed(four) == {
        "chat-4": "current of chat",
        "chat-3": "previous of chat",
        "chat-2": "fallback of chat",
    }
    # One that comes back is not remembered twice.
    assert chat(slots.promote(four, wanted("chat-2"))) == ["chat-2", "chat-4", "chat-3", None]
    assert slots.promote(four, wanted("chat-4")) == four


def test_only_a_service_without_a_current_release_gets_one() -> None:
    state = after("chat-1")
    assert chat(slots.keep(state, [wanted("chat-2")])) == ["chat-1", None, None, None]
    both = slots.keep(state, [wanted("chat-2"), wanted("embed-1", "embedding")])
    assert both["embed"]["current"] == "embed-1"
    assert list(slots.keep(both, [wanted("embed-1", "embedding")])) == ["embed"]


def test_a_rollback_exchanges_two_slots() -> None:
    state = after("chat-1", "chat-2", "chat-3")
    back = slots.roll_back(state, "chat")
    assert chat(back) == ["chat-2", "chat-3", "chat-1", None]
    assert slots.roll_back(back, "chat") == state
    with pytest.raises(AirlockError, match=r"no previous release to go back to.*release\.yml"):
        slots.roll_back(after("chat-1"), "chat")
    with pytest.raises(AirlockError, match="the service code has no slots: found chat"):
        slots.roll_back(state, "code")


def test_a_release_that_cannot_start_is_the_worst_to_go_back_to() -> None:
    state = slots.stand_in(after("chat-1", "chat-2"), "chat", "previous", "it is damaged.")
    assert slots.answering(state["chat"]) == "chat-1"
    assert slots.serving(state) == {"chat-1"}
    assert chat(slots.promote(state, wanted("chat-3"))) == ["chat-3", "chat-1", "chat-2", None]
    accepted = slots.roll_back(state, "chat")
    assert chat(accepted)[:2] == ["chat-1", "chat-2"]
    for healed in (accepted, slots.keep(state, [wanted("chat-2")])):
        assert healed["chat"]["standin"] is None


def test_a_canary_comes_and_goes_beside_the_others() -> None:
    state = slots.stage(after("chat-1"), wanted("chat-2"))
    assert chat(state) == ["chat-1", None, None, "chat-2"]
    assert slots.serving(state) == {"chat-1", "chat-2"}
    assert slots.withdraw(state, "chat") == after("chat-1")
    assert slots.keep(state, [wanted("chat-1")]) == after("chat-1")
    assert slots.promote(state, wanted("chat-2")) == after("chat-1", "chat-2")


def test_a_service_keeps_doing_what_it_does() -> None:
    for move in (slots.stage, slots.promote):
        with pytest.raises(AirlockError, match="the service chat is for chat: found a release for"):
            move(after("chat-1"), wanted("chat-2", "embedding"))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slots.json"
    assert slots.load(str(path)) == {}
    state = slots.stand_in(after("chat-1", "chat-2"), "chat", "previous", "x" * 5000)
    assert len(state["chat"]["standin"]["because"]) == 1000
    path.write_bytes(slots.to_bytes(state))
    assert slots.load(str(path)) == state
    # Of an earlier version.
    path.write_text('{"services":{"chat":{"current":"chat-1","previous":null,"mode":"chat"}}}')
    assert slots.load(str(path)) == after("chat-1")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([], "not a mapping"),
        ({"current": "../x", "mode": "chat"}, "does not fit"),
        ({"current": None, "mode": "chat"}, "'current' is missing"),
        ({"current": "chat-1", "mode": "chat", "next": "x"}, "'next' is unknown"),
        (
            {"current": "c", "mode": "chat", "standin": {"slot": "canary", "because": ""}},
            "the value is unknown",
        ),
        (
            {"current": "c", "mode": "chat", "standin": {"slot": "previous", "because": ""}},
            "the slot that stands in is empty",
        ),
    ],
)
def test_slots_of_another_form_are_refused(tmp_path: Path, entry: Any, said: str) -> None:
    path = tmp_path / "slots.json"
    path.write_text(json.dumps({"services": {"chat": entry}}))
    with pytest.raises(AirlockError, match=said):
        slots.load(str(path))
    path.write_text('{"services": []}')
    with pytest.raises(AirlockError, match="not a mapping of services"):
        slots.load(str(path))
