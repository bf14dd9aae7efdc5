# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import releases_slots as slots
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def wanted(**releases: str) -> list[dict[str, str]]:
    return [
        {"service": service, "release": release, "mode": "chat"}
        for service, release in releases.items()
    ]


def test_what_was_current_becomes_previous_once() -> None:
    first = slots.advance({}, wanted(chat="chat-1"))
    assert first == {"chat": {"current": "chat-1", "previous": None, "mode": "chat"}}
    second = slots.advance(first, wanted(chat="chat-2"))
    assert second["chat"] == {"current": "chat-2", "previous": "chat-1", "mode": "chat"}
    assert slots.advance(second, wanted(chat="chat-2")) == second
    assert slots.pointed(second) == {"chat-1", "chat-2"}


def test_a_service_that_has_gone_has_no_slot() -> None:
    both = slots.advance({}, wanted(chat="chat-1", embed="embed-1"))
    assert list(slots.advance(both, wanted(embed="embed-1"))) == ["embed"]


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "slots.json"
    assert slots.load(str(path)) == {}
    state = slots.advance({}, wanted(chat="chat-1"))
    path.write_bytes(slots.to_bytes(state))
    assert slots.load(str(path)) == state


@pytest.mark.parametrize("data", [b"", b"[]", b'{"services": []}', b'{"services": {}, "x": 1}'])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "slots.json"
    path.write_bytes(data)
    with pytest.raises(AirlockError, match=r"slots\.json"):
        slots.load(str(path))
