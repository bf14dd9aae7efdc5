# SPDX-License-Identifier: GPL-3.0-or-later
"""What the input screen and the output filter cost, in CPU time.

Screen: windows of 4 KB of text of several kinds. Filter: the same text as one answer, and as a
stream of events of 4 characters, each with and without the filter around the same cleaner.

    python3 tests/bench/screens.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build/collections"))

# ruff: noqa: E402
from ansible_collections.homelab.airlock.plugins.module_utils import dialects, screen
from ansible_collections.homelab.airlock.plugins.module_utils.output_answer import AnswerFilter
from ansible_collections.homelab.airlock.plugins.module_utils.output_filter import mask
from ansible_collections.homelab.airlock.plugins.module_utils.output_rules import Rules
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    Cleaner,
    EventCleaner,
    Tokens,
)

DATA = ROOT / "roles/gateway/files/screens"
KB4 = 4096
PIECE = 4


def table(name: str) -> object:
    return json.loads((DATA / name).read_text())


def texts() -> dict[str, str]:
    """Return 4 KB each of what is written in this repository."""
    words = (ROOT / "docs/threat-model.md").read_text()
    code = (ROOT / "plugins/module_utils/nft_table.py").read_text()
    shuffled = words.split()
    random.Random(1).shuffle(shuffled)  # noqa: S311 - an order, no secret
    return {
        "prose": words[:KB4],
        "code": code[:KB4],
        "other letters": "".join(
            chr(0x430 + ord(char) % 32) if char.isalpha() else char for char in words
        )[:KB4],
        "keywords": (" ".join(shuffled) + " ignore all previous instructions ")[-KB4:],
        "base64": "".join(random.Random(2).choices("ABCDEFabcdef0123456789+/", k=KB4)),  # noqa: S311
    }


def milliseconds(work: Callable[[], object], rounds: int) -> list[float]:
    work()
    times = []
    for _round in range(rounds):
        began = time.process_time()
        work()
        times.append((time.process_time() - began) * 1000)
    return sorted(times)


def stream(text: str) -> list[bytes]:
    return [
        dialects.frame(
            dialects.CHAT,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "chat",
                "choices": [
                    {"index": 0, "delta": {"content": text[at : at + PIECE]}, "finish_reason": None}
                ],
            },
        )
        for at in range(0, len(text), PIECE)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    judge = screen.Screen(table("input.json"), table("weights.json"), where="screens")
    rules = Rules.from_document(
        table("output.json"), categories={"secrets", "pii", "control", "active"}, where="screens"
    )
    for name, text in texts().items():
        looks = milliseconds(lambda text=text: judge.judge(text, screen.PROMPT), rounds * 20)
        masks = milliseconds(lambda text=text: mask(rules, text, set()), rounds * 5)
        print(
            f"{name:14} 4 KB: screen p50 {statistics.median(looks):5.2f} ms"
            f"  p99 {looks[int(len(looks) * 0.99)]:5.2f} ms   filter p50 {statistics.median(masks):5.2f} ms"
        )
    events = stream(texts()["prose"])

    def run(filtered: bool) -> None:
        guard = AnswerFilter(rules, dialects.CHAT) if filtered else None
        cleaner = EventCleaner(Cleaner(dialects.CHAT, "chat", Tokens(), guard))
        for event in events:
            cleaner.feed(event)
        cleaner.finish()

    plain, guarded = (
        statistics.median(milliseconds(lambda on=on: run(on), rounds)) for on in (False, True)
    )
    print(
        f"an event of a stream: {plain / len(events) * 1000:.0f} us without the filter,"
        f" {guarded / len(events) * 1000:.0f} us with it"
    )


if __name__ == "__main__":
    main()
