# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that look like JSON, redacted: what they may become in memory, and for how long nobody else is served."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import request_policy

from .conftest import FILES

Import = Callable[[str], ModuleType]

BOUND = request_policy.MAX_VALUES
SHAPES = ["[]", "{}", '""', "null", "0", '{"":0}']


def values(item: str) -> int:
    """Return how many members and brackets open for ``item`` in a list."""
    return 1 + sum(item.count(each) for each in "{[:")


def nested(item: str, many: int) -> str:
    return "[" + ",".join([item] * many) + "]"


def redacted(gatekeeper: Import, text: str) -> tuple[str, int, float]:
    """Return ``text`` as it is kept, the turns that others had, and the longest time without one."""
    transcript, rules = gatekeeper("transcript"), gatekeeper("airlock.output_rules").Rules
    table = json.loads((FILES / "screens/output.json").read_text())
    private = rules.from_document(table, categories=["secrets", "pii"], canaries=[], where="x")
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    turns, lag = 0, 0.0

    async def tick() -> None:
        nonlocal turns, lag
        while True:
            # The processor's time: that of other programs on this machine is none of ours.
            before = time.process_time()
            await asyncio.sleep(0)
            turns, lag = turns + 1, max(lag, time.process_time() - before)

    async def run() -> Any:
        ticking = asyncio.ensure_future(tick())
        await asyncio.sleep(0)
        kept = await transcript.Transcript(private, "chat", body).redacted()
        await asyncio.sleep(0)
        ticking.cancel()
        return kept["prompt"]["messages"][0]["content"]

    return asyncio.run(run()), turns, lag


@pytest.mark.parametrize("item", SHAPES)
def test_up_to_the_bound_others_have_turns_while_a_text_is_rebuilt(
    gatekeeper: Import, item: str
) -> None:
    many = BOUND // values(item)
    kept, turns, lag = redacted(gatekeeper, nested(item, many))
    rebuilt = kept == json.dumps(json.loads(nested(item, many)))
    assert rebuilt
    assert turns >= many // 256
    assert lag < 0.2


@pytest.mark.parametrize("item", SHAPES)
@pytest.mark.parametrize("size", ["one more", "a megabyte"])
def test_beyond_the_bound_a_text_is_plain(gatekeeper: Import, item: str, size: str) -> None:
    many = BOUND // values(item) + 1 if size == "one more" else 10**6 // (len(item) + 1)
    secret = "ghp_" + "a1B2c3D4e5" * 4
    text = nested(item, many)[:-1] + f',"{secret}"]'
    kept, turns, lag = redacted(gatekeeper, text)
    plain = kept == text.replace(secret, "[masked: github-token]")
    assert plain
    assert turns >= len(text) // (16 * 1024)
    assert lag < 0.2
