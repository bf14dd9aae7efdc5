# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to prove a model: SHA-256 beside the tools of the distribution, BLAKE3, both in one pass, a receipt.

CPU seconds (user and system, children included), taken in turns within one run, the least of each; read the ratios.
BLAKE3 is for processors without SHA instructions: where this one has them, OpenSSL is told to do without them, too.
Needs openssl, sha256sum and b3sum; touches nothing outside a temporary directory.

    python3 tests/bench/models.py [--size 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plugins"))

from module_utils import custody, digests  # type: ignore[import-not-found]  # noqa: E402
from module_utils.artifacts import Content  # type: ignore[import-not-found]  # noqa: E402
from module_utils.receipts import Book, Moment  # type: ignore[import-not-found]  # noqa: E402

MOST_RECEIPT_US = 50.0
RECEIPTS = 2000
# 1.1 with the hash in the same process; b3sum is another, and a pipe to it costs as much as the hash.
MOST_BOTH = 1.4
# OPENSSL_ia32cap(3): bit 29 of the third word stands for the SHA instructions.
WITHOUT = ("OPENSSL_ia32cap", ":~0x20000000")


def has_sha_instructions() -> bool:
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    return " sha_ni" in flags or " sha2 " in flags


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def read_so_far() -> int:
    """Return how many bytes this process has asked for (proc(5), io)."""
    with open("/proc/self/io", encoding="ascii") as source:
        return int(source.readline().split()[1])


def command(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, capture_output=True)


def sha256_alone(descriptor: int) -> str:
    hasher = hashlib.sha256()
    digests.feed(descriptor, [hasher], keep_cache=True)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Goal:
    """What the cost of one way is to be, divided by that of another: at least ``bound``, or at most."""

    what: str
    one: str
    other: str
    bound: float
    least: bool = True

    def ratio(self, cost: dict[str, float]) -> float:
        return cost[self.one] / cost[self.other]

    def is_met(self, cost: dict[str, float]) -> bool:
        return holds(self.ratio(cost), self.bound, least=self.least)


def costs(
    ways: dict[str, Callable[[], object]], goals: list[Goal], rounds: int
) -> dict[str, float]:
    """Return the least CPU seconds of each way, all of them in turns."""
    best = dict.fromkeys(ways, math.inf)
    # What more a round took says what the caches were used for meanwhile, and by whom. They may be for a while.
    for done in range(8 * rounds):
        if done >= rounds and all(goal.is_met(best) for goal in goals):
            break
        for name, way in ways.items():
            start = cpu()
            way()
            best[name] = min(best[name], cpu() - start)
    return best


def holds(ratio: float, bound: float, *, least: bool) -> bool:
    return ratio >= bound if least else ratio <= bound


def judge(what: str, ratio: float, bound: float, wrong: list[str], *, least: bool = True) -> None:
    """Print a ratio; enter it among what is ``wrong`` when it is on the wrong side."""
    said = f"{what}: {ratio:.2f} x, {'least' if least else 'most'} {bound:.2f}"
    print(said)
    if not holds(ratio, bound, least=least):
        wrong.append(said)


def hashing(path: Path, rounds: int, wrong: list[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    slow = WITHOUT[0] in os.environ or not has_sha_instructions()
    goals = [Goal("sha256 beside openssl", "openssl", "ours", 0.95)]
    if WITHOUT[0] not in os.environ:  # what sha256sum uses cannot be told to do without
        goals.append(Goal("sha256 beside sha256sum", "sha256sum", "ours", 1.8))
    if slow:
        goals.append(Goal("blake3 beside openssl", "openssl", "blake3", 8))
        goals.append(Goal("both in one pass beside sha256", "both", "ours", MOST_BOTH, least=False))
    found = costs(
        {
            "ours": lambda: sha256_alone(descriptor),
            "openssl": command("openssl", "dgst", "-sha256", str(path)),
            "sha256sum": command("sha256sum", str(path)),
            "blake3": lambda: digests.blake3_of(descriptor, keep_cache=True),
            "both": lambda: digests.both(descriptor, keep_cache=True),
        },
        goals,
        rounds,
    )
    os.close(descriptor)
    size = path.stat().st_size
    rates = ", ".join(f"{name} {size / value / 1e6:.0f}" for name, value in found.items())
    print(f"MB for a second of CPU, {'without' if slow else 'with'} SHA instructions: {rates}")
    for goal in goals:
        judge(goal.what, goal.ratio(found), goal.bound, wrong, least=goal.least)


def two_files(paths: list[Path], rounds: int, wrong: list[str]) -> None:
    """Hash two files one after the other and at once; two of openssl say how many cores were to be had."""
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    peers = [command("openssl", "dgst", "-sha256", str(path)) for path in paths]
    ways: dict[str, list[Callable[[], object]]] = {
        "ours": [partial(sha256_alone, descriptor) for descriptor in descriptors],
        "openssl": peers,
    }
    best = dict.fromkeys(ways, 0.0)
    # The best rounds count: the others say what else the machine did. It may do that for a while.
    for done in range(8 * rounds):
        if done >= rounds and best["ours"] >= bound(best["openssl"]):
            break
        for name, (first, second) in ways.items():
            best[name] = max(best[name], gain(first, second))
    for descriptor in descriptors:
        os.close(descriptor)
    print(f"two of openssl on two cores: {best['openssl']:.2f} x")
    judge("two files on two cores", best["ours"], bound(best["openssl"]), wrong)


def bound(peer: float) -> float:
    """Return how much faster two files at once have to be where two of openssl reach ``peer``."""
    return min(1.7, 0.95 * peer)


def gain(first: Callable[[], object], second: Callable[[], object]) -> float:
    """Return how many times as fast two things are at once as one after the other."""
    start = time.monotonic()
    first()
    second()
    one = time.monotonic() - start
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda way: way(), (first, second)))
    return one / (time.monotonic() - start)


def receipt(path: Path, work: Path, wrong: list[str]) -> None:
    (work / "receipts").mkdir(mode=0o700)
    book, now = Book(str(work / "receipts")), Moment.now()
    path.chmod(0o444)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    subject = custody.Subject(str(path), Content(digest, path.stat().st_size), "a" * 64)
    assert custody.prove(subject, book, now).state == custody.OK
    figures: list[float] = []
    before = read_so_far()
    while len(figures) < 9 or (min(figures) > MOST_RECEIPT_US and len(figures) < 90):
        start = cpu()
        for _look in range(RECEIPTS):
            custody.glance(subject, book, now)
        figures.append((cpu() - start) / RECEIPTS * 1e6)
    read = (read_so_far() - before) / (len(figures) * RECEIPTS)
    least = min(figures)
    print(
        f"a receipt: {least:.0f} us, most {MOST_RECEIPT_US:.0f}; {read:.0f} bytes read, the receipt's own"
    )
    if least > MOST_RECEIPT_US:
        wrong.append("a receipt costs too much")
    if read > 4096:
        wrong.append("a receipt reads more than itself")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="MiB of each of two files")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        paths = [work / "first", work / "second"]
        for path in paths:
            with path.open("wb") as target:
                for _piece in range(options.size):
                    target.write(os.urandom(1 << 20))
        hashing(paths[0], options.rounds, wrong)
        if WITHOUT[0] in os.environ:
            return tell(wrong)
        two_files(paths, options.rounds, wrong)
        receipt(paths[0], work, wrong)
    status = tell(wrong)
    if not has_sha_instructions():
        return status
    again = subprocess.run(
        [sys.executable, *sys.argv], env={**os.environ, WITHOUT[0]: WITHOUT[1]}, check=False
    )
    return status or again.returncode


def tell(wrong: list[str]) -> int:
    """Print what is wrong and return the exit status."""
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
