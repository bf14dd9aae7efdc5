# SPDX-License-Identifier: GPL-3.0-or-later
"""Learns the linear part of the input screen and writes roles/gateway/files/screens/weights.json.

Logistic regression over words and pairs of neighbours, one half of the sets that are marked as seen;
the other half and all other sets are what `tests/screens/rates.py` measures. The same input gives
the same file.

    python3 tests/screens/train.py .build/screens
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build/collections"))

# ruff: noqa: E402
from ansible_collections.homelab.airlock.plugins.module_utils import screen
from ansible_collections.homelab.airlock.tests.screens import sets

DATA = ROOT / "roles/gateway/files/screens"
DATED = "2026-11-21"
ROUNDS = 12
RATE = 0.5
DECAY = 2e-5
MIN_TEXTS = 4  # in which a feature has to occur
KEPT = 6000
Feature = str | tuple[str, str]


def main() -> None:
    none = {"bias": 0, "words": {}, "pairs": {}}
    reader = screen.Screen(json.loads((DATA / "input.json").read_text()), none, where="input.json")
    samples: list[tuple[list[Feature], int]] = []
    for each in sets.read(Path(sys.argv[1])):
        for text in each.half(False) if each.seen else ():
            for window in list(screen.windows(text))[:3]:
                words, pairs = reader.features(window)
                samples.append(([*sorted(words), *sorted(pairs)], int(each.attack)))
    counts = Counter(feature for features, _label in samples for feature in features)
    rude = sets.rude(Path(sys.argv[1]))  # they would be right, and in every copy of this file
    known = {
        feature for feature, count in counts.items() if count >= MIN_TEXTS and usable(feature, rude)
    }
    weights, bias = learn(
        [([f for f in fs if f in known], len(fs), label) for fs, label in samples]
    )
    kept = sorted(weights, key=lambda feature: (-abs(weights[feature]), str(feature)))[:KEPT]
    words = {f: round(weights[f], 2) for f in sorted(f for f in kept if isinstance(f, str))}
    pairs: dict[str, dict[str, float]] = {}
    for first, second in sorted(f for f in kept if isinstance(f, tuple)):
        pairs.setdefault(first, {})[second] = round(weights[first, second], 2)
    document = {
        "version": 1,
        "dated": DATED,
        "bias": round(bias, 3),
        "words": words,
        "pairs": pairs,
    }
    (DATA / "weights.json").write_text(json.dumps(document, ensure_ascii=True, indent=0) + "\n")
    print(f"{len(samples)} texts, {len(known)} features, {len(kept)} kept")


def usable(feature: Feature, rude: frozenset[str]) -> bool:
    """Numbers say more about the sets than about attacks."""
    words = [feature] if isinstance(feature, str) else feature
    return all(word.replace("'", "").isalpha() and word not in rude for word in words)


def learn(samples: list[tuple[list[Feature], int, int]]) -> tuple[dict[Feature, float], float]:
    """Return the weights and the bias (stochastic gradient descent; AdaGrad, Duchi et al. 2011)."""
    order = random.Random(1)  # noqa: S311 - an order, no secret
    weights: dict[Feature, float] = {}
    squares: dict[Feature, float] = {}
    bias = 0.0
    positive = sum(label for _features, _count, label in samples)
    balance = {1: len(samples) / (2 * positive), 0: len(samples) / (2 * (len(samples) - positive))}
    for _round in range(ROUNDS):
        order.shuffle(samples)
        for features, count, label in samples:
            scale = 1 / screen.scale(count)
            score = sum(weights.get(feature, 0.0) for feature in features) * scale + bias
            error = (1 / (1 + math.exp(-max(-30.0, min(30.0, score)))) - label) * balance[label]
            bias -= 0.02 * error
            for feature in features:
                weight = weights.get(feature, 0.0)
                slope = error * scale + DECAY * weight
                squares[feature] = squares.get(feature, 1e-3) + slope * slope
                weights[feature] = weight - RATE * slope / math.sqrt(squares[feature])
    return weights, bias


if __name__ == "__main__":
    main()
