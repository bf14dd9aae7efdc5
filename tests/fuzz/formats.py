# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeds the check of model files what nobody wrote down: mutations of the corpus, and the largest inputs
that the limits let through. Only a refusal may come back, within 256 MiB of memory.

    tests/run-fuzz [SECONDS [SEED]]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from struct import pack

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT.parts[-3:] == ("ansible_collections", "homelab", "airlock")
sys.path.insert(0, str(ROOT.parents[2] if INSTALLED else ROOT / ".build" / "collections"))

# ruff: noqa: E402
from ansible_collections.homelab.airlock.plugins.module_utils import formats
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.tests.corpus import all_cases
from ansible_collections.homelab.airlock.tests.corpus.case import Case

MEMORY = 256 * 1024**2
NUMBERS = [
    0,
    1,
    2,
    7,
    8,
    31,
    32,
    33,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63,
    2**64 - 1,
]
TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\u0000",
    b",",
    b":",
    b"1e999",
    b"-1",
    b"null",
    b"NaN",
    b"\xff",
]


def mutated(seed: bytes, other: bytes, dice: random.Random) -> bytes:
    """Return ``seed`` after a few changes."""
    data = bytearray(seed)
    for _change in range(dice.choice((1, 1, 1, 2, 4, 16))):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at : at + 8] = pack("<Q", dice.choice(NUMBERS))
        elif kind == 2:
            data[at : at + 4] = pack("<I", dice.choice(NUMBERS) & 0xFFFFFFFF)
        elif kind == 3:
            del data[at : at + dice.choice((1, 4, 8, 64))]
        elif kind == 4:
            data[at:at] = data[at : at + dice.choice((1, 8, 64))]
        elif kind == 5:
            data[at:at] = dice.choice(TOKENS)
        else:
            cut = dice.randrange(len(other) + 1)
            data[at:] = other[cut : cut + 4096]
    return bytes(data)


def worst() -> Iterator[tuple[str, bytes]]:
    """Yield names and contents that cost most within the limits."""
    mib = 1024**2
    yield "tokenizer.json", b'{"a":[' + b"[]," * 1_990_000 + b"[]]}"
    yield "tokenizer.json", b'{"a":[' + b'{"a":{}},' * 660_000 + b"{}]}"
    yield "tokenizer.json", b'{"a":"' + b"\\u00ff" * (10 * mib) + b'"}'
    yield "config.json", b'{"a":[' + b"[]," * 490_000 + b"[]]}"
    entries = b",".join(
        b'"%d":{"dtype":"U8","shape":[],"data_offsets":[0,0]}' % number for number in range(262_000)
    )
    yield "model.safetensors", pack("<Q", len(entries) + 2) + b"{" + entries + b"}"
    text = '"ÿ":"'.encode() + "ÿ".encode() * (15 * mib) + b'"'
    yield "model.safetensors", pack("<Q", len(text) + 2) + b"{" + text + b"}"
    head = b"GGUF" + pack("<IQQ", 3, 0, 1) + pack("<Q", 1) + b"a" + pack("<IIQ", 9, 8, 11 * mib)
    yield "model.gguf", head + bytes(8 * 11 * mib)
    head = b"GGUF" + pack("<IQQ", 3, 0, 2)
    text = b"x" * (40 * mib)
    keys = [pack("<Q", 1) + key + pack("<IQ", 8, len(text)) + text for key in (b"a", b"b")]
    yield "model.gguf", head + b"".join(keys)


def try_one(name: str, data: bytes, path: Path, ends: Counter[str]) -> None:
    """Check one input; what is not a refusal comes out with the input kept."""
    path.write_bytes(data)
    try:
        ends[formats.check(str(path), name).format] += 1
    except AirlockError:
        ends["refused"] += 1
    except BaseException:
        kept = ROOT / ".build" / "fuzz-crash"
        kept.write_bytes(data)
        print(f"not a refusal for {name}; the input is in {kept}", file=sys.stderr)
        raise


def peak() -> int:
    """Return the most memory that this process had, bytes."""
    # Not ru_maxrss: that one is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def cost(name: str, data: bytes, path: Path) -> int:
    """Return the memory that a process of its own needs to check this input, bytes."""
    path.write_bytes(data)
    command = [sys.executable, __file__, "--only", str(path), "--name", name]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> int:
    """Fuzz for as long as asked and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", type=Path, help="check this one file and print the memory it took"
    )
    parser.add_argument("--name", help="what the model calls it")
    options = parser.parse_args()
    if options.only:
        with contextlib.suppress(AirlockError):
            formats.check(str(options.only), options.name)
        print(peak())
        return 0
    dice = random.Random(options.seed)  # noqa: S311
    good, everything = all_cases.good(), [*all_cases.good(), *all_cases.bad()]
    seeds: list[Case] = [case for case in everything if len(case.data) < 100_000]
    names = sorted({case.name for case in everything})
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="airlock-fuzz-") as directory:
        path = Path(directory) / "content"
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            seed = dice.choice(good if dice.random() < 0.7 else seeds)
            name = seed.name if dice.random() < 0.9 else dice.choice(names)
            try_one(name, mutated(seed.data, dice.choice(seeds).data, dice), path, ends)
        most = {"the fuzzing": peak()}
        for index, (name, data) in enumerate(worst()):
            most[f"{name} {index}"] = cost(name, data, path)
    print(f"{sum(ends.values())} inputs: {dict(ends)}")
    print("peak memory, MiB:", {name: size >> 20 for name, size in most.items()})
    return max(most.values()) > MEMORY


if __name__ == "__main__":
    sys.exit(main())
