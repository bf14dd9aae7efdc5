# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check of a header costs, beside the library of the format's makers. `tests/run-peers` runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import formats

gguf = pytest.importorskip("gguf", reason="the package is in requirements-peers.txt")

TOKENS, MERGES = 151_936, 151_387
LEAST_RATIO = 50.0
MOST_SECONDS = 0.5


def strings(values: list[bytes]) -> bytes:
    return b"".join(pack("<Q", len(value)) + value for value in values)


def vocabulary() -> bytes:
    """Return a file with the vocabulary of a large model and no tensors."""
    tokens = [b"tok%d" % number for number in range(TOKENS)]
    merges = [b"ab%d cd" % number for number in range(MERGES)]
    parts = [
        (b"general.architecture", pack("<I", 8) + strings([b"qwen2"])),
        (b"tokenizer.ggml.tokens", pack("<IIQ", 9, 8, TOKENS) + strings(tokens)),
        (b"tokenizer.ggml.token_type", pack("<IIQ", 9, 5, TOKENS) + pack("<i", 1) * TOKENS),
        (b"tokenizer.ggml.merges", pack("<IIQ", 9, 8, MERGES) + strings(merges)),
    ]
    head = b"GGUF" + pack("<IQQ", 3, 0, len(parts))
    return head + b"".join(strings([key]) + value for key, value in parts)


def cost(what: Callable[[], object], rounds: int) -> float:
    """Return the median CPU seconds of a call."""
    figures = []
    for _round in range(rounds):
        start = time.process_time()
        what()
        figures.append(time.process_time() - start)
    return statistics.median(figures)


def test_a_large_vocabulary(tmp_path: Path, report: Callable[[str], None]) -> None:
    path = str(tmp_path / "model.gguf")
    Path(path).write_bytes(vocabulary())
    ours = cost(lambda: formats.check(path), 5)
    theirs = cost(lambda: gguf.GGUFReader(path), 1)
    report(
        f"header with {TOKENS} tokens and {MERGES} merges: {ours * 1000:.0f} ms, "
        f"gguf.GGUFReader {theirs:.1f} s, {theirs / ours:.0f} x"
    )
    assert theirs / ours >= LEAST_RATIO
    assert ours <= MOST_SECONDS
