# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints how much of public sets the input screen notices, beside a peer, and fails above 1 % false alarms.

With the digests of the tables: tests/unit/test_screen_rates.py holds those of docs/benchmarks.md against the tables.

Counted are texts that nothing was learned from. "Noticed" is flag or block; the peer is
ai-injection-guard 0.3.0 at its default threshold. Intervals are Wilson's at 95 %.

    .build/peers/bin/python tests/screens/rates.py .build/screens
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build/collections"))

# ruff: noqa: E402
from prompt_shield import InjectionRiskError, PromptScanner

from ansible_collections.homelab.airlock.plugins.module_utils import screen
from ansible_collections.homelab.airlock.tests.screens import sets, tables

MOST_FALSE = 0.01
# Ordinary in form, written to look like attacks: told apart, they are not what the limit is about.
TRAPS = "bastioncorpus: traps"


def ours() -> screen.Screen:
    documents = [json.loads((tables.DATA / name).read_text()) for name in tables.NAMES]
    return screen.Screen(*documents, where=str(tables.DATA))


def peer() -> Callable[[str], bool]:
    scanner = PromptScanner()

    def notices(text: str) -> bool:
        try:
            scanner.check(text)
        except InjectionRiskError:
            return True
        return False

    return notices


def interval(hits: int, total: int) -> str:
    """Return the Wilson score interval (Wilson 1927) in percent."""
    z = 1.96
    share, spread = hits / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / total / 4) / (1 + spread)
    return f"{max(0, middle - half):.1%} to {min(1, middle + half):.1%}"


def main() -> None:
    own, other = ours(), peer()
    cost = {"own": 0.0, "peer": 0.0}
    size = 0
    false = total = 0
    print("| set | texts | noticed | of them to block | interval | ai-injection-guard |")
    print("|---|---|---|---|---|---|")
    for each in sorted(sets.read(Path(sys.argv[1])), key=lambda one: not one.attack):
        texts = each.unseen
        began = time.process_time()
        verdicts = [own.judge(text, each.channel).action for text in texts]
        cost["own"] += time.process_time() - began
        began = time.process_time()
        theirs = sum(other(text) for text in texts)
        cost["peer"] += time.process_time() - began
        size += sum(map(len, texts))
        noticed = len(texts) - verdicts.count(screen.ALLOW)
        sign = "attack" if each.attack else "ordinary"
        print(
            f"| {sign}: {each.name} | {len(texts)} | {noticed / len(texts):.1%}"
            f" | {verdicts.count(screen.BLOCK) / len(texts):.1%} | {interval(noticed, len(texts))}"
            f" | {theirs / len(texts):.1%} |"
        )
        if not each.attack and each.name != TRAPS:
            false, total = false + noticed, total + len(texts)
    print("", *tables.digests(), sep="\n")
    print(f"\nfalse alarms on ordinary text: {false} of {total} ({false / total:.2%})")
    per = {name: seconds / size * 4096 * 1000 for name, seconds in cost.items()}
    print(f"CPU for 4 KB: {per['own']:.2f} ms, ai-injection-guard {per['peer']:.2f} ms")
    if false > MOST_FALSE * total:
        raise SystemExit(f"more than {MOST_FALSE:.0%} of ordinary texts are flagged")


if __name__ == "__main__":
    main()
