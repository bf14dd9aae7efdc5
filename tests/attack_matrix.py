# SPDX-License-Identifier: GPL-3.0-or-later
"""attack_matrix.py [--check] EVIDENCE: writes docs/attack-matrix.md from the evidence of the scenario `egress`.

With --check nothing is written; it fails when the documented matrix has other rows or columns than the evidence, or a
cell that says the opposite. How an attempt was refused may differ from run to run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "attack-matrix.md"
NOT_TRIED = "·"
HEAD = """# Attack matrix

Written by `python3 tests/attack_matrix.py` from the evidence of the scenario `egress` (`molecule/egress`); the
attempts are listed in `molecule/egress/vars/attacks.yml`.

Each of the {count} attempts was made twice in one run on the same host, which runs a real Docker with IPv6 and three
containers: **without** table `inet airlock`, where every one of them reached its aim, and **with** it, where none did.
A cell says how it ended with the rules: the error that the program got, `no answer` where it got none, `stopped` where
a flow that was open before the rules came died with them. `{not_tried}` was not tried, because the kernel or the
engine refuses it without any rule of ours, or because it is allowed.

What this cannot stop: root on the host may remove the table, and may send frames through a packet socket or a macvlan
interface, which pass below these hooks. Containers on a bridge cannot: their frames end at the bridge. The services of
this house are not root and have no network at all; the rules are their second wall.
"""
Cells = dict[tuple[str, str, str], dict[str, str]]


def cells(records: Iterable[dict[str, Any]]) -> Cells:
    """Return what came of each (trick, protocol, family), by principal."""
    found: Cells = {}
    for record in records:
        principal, protocol, family, trick = record["probe"].partition(": ")[0].split(" | ")
        found.setdefault((trick, protocol, family), {})[principal] = (
            outcome(record["observed"]) if record["verdict"] == "passed" else "**FAILED**"
        )
    return found


def outcome(observed: str) -> str:
    """Return "refused: EACCES after 3 ms" and its like in a word or two."""
    if "answers" in observed:
        return "stopped"
    error = re.match(r"refused: (E[A-Z]+)", observed)
    return error.group(1) if error else "no answer" if "timeout" in observed else "refused"


def table(found: Cells, principals: list[str]) -> list[str]:
    """Return the lines of a table with a column for each principal."""
    lines = [
        "| " + " | ".join(["trick", "protocol", "family", *principals]) + " |",
        "|" + "---|" * (3 + len(principals)),
    ]
    for key, ended in found.items():
        if ended.keys() & set(principals):
            results = [ended.get(principal, NOT_TRIED) for principal in principals]
            lines.append("| " + " | ".join([*key, *results]) + " |")
    return lines


def page(records: list[dict[str, Any]]) -> str:
    """Return the whole page."""
    found = cells(records)
    count = sum(map(len, found.values()))
    lines = HEAD.format(count=count, not_tried=NOT_TRIED).splitlines()
    for vantage, title in (("self", "On their way out"), ("external", "On their way in")):
        own = cells(record for record in records if record["vantage"] == vantage)
        principals = list(dict.fromkeys(name for ended in own.values() for name in ended))
        lines += ["", f"## {title}", "", *table(found, principals)]
    return "\n".join([*lines, ""])


def tried(text: str) -> set[tuple[str, str, str, str]]:
    """Return (principal, protocol, family, trick) of every cell of a page that tells of a refusal."""
    found = set()
    principals: list[str] = []
    for line in text.splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if not line.startswith("| "):
            continue
        if columns[0] == "trick":
            principals = columns[3:]
            continue
        trick, protocol, family, *results = columns
        found |= {
            (principal, protocol, family, trick)
            for principal, result in zip(principals, results, strict=True)
            if result not in (NOT_TRIED, "**FAILED**")
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("evidence", type=Path)
    given = parser.parse_args()
    text = page(json.loads(given.evidence.read_text())["records"])
    if not given.check:
        PAGE.write_text(text)
    elif difference := tried(text) ^ tried(PAGE.read_text()):
        print(
            f"{PAGE.name} is not what was tried; run python3 tests/attack_matrix.py {given.evidence}. "
            f"Only in one of them: {sorted(difference)}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
