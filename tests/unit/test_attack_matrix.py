# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/attack-matrix.md has a cell for every attempt of the scenario `egress`, and no other."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


attacks = module("molecule/egress/filter_plugins/attacks.py")
matrix = module("tests/attack_matrix.py")
PAGE = matrix.PAGE.read_text()


def record(probe: str, observed: str, **changes: Any) -> dict[str, Any]:
    return {
        "probe": f"{probe}: x",
        "observed": observed,
        "verdict": "passed",
        "vantage": "self",
        **changes,
    }


def planned() -> set[tuple[str, ...]]:
    data = yaml.safe_load((ROOT / "molecule/egress/vars/attacks.yml").read_text())
    outbound = data["attack_attempts"] + data["attack_accepted"] + data["attack_held"]
    targets = data["attack_targets"]
    spelled = [
        *attacks.attack_probes(outbound, data["attack_principals"], targets, "refused"),
        *attacks.attack_probes(
            data["attack_inbound"], data["attack_strangers"], targets, "refused"
        ),
    ]
    rows = [probe["id"] for probe in spelled] + [data["attack_spoof"]]
    assert len(rows) == len(set(rows))
    return {tuple(row.split(" | ")) for row in rows}


def test_the_page_tells_of_every_attempt_and_no_other() -> None:
    assert matrix.tried(PAGE) == planned()
    assert len(planned()) >= 30
    assert "FAILED" not in PAGE


def test_every_kind_of_principal_protocol_and_family_is_there() -> None:
    principals, protocols, families, tricks = map(set, zip(*planned(), strict=True))
    assert len(principals) == 10
    assert protocols == {"tcp", "udp", "dns", "icmp", "nd"}
    assert families == {"IPv4", "IPv6"}
    assert len(tricks) >= 20


def test_a_row_that_failed_is_no_row_that_was_refused() -> None:
    rows = [
        record("a | tcp | IPv4 | t", "reached: after 1 ms", verdict="failed"),
        record("b | tcp | IPv4 | t", "timeout: after 9 ms"),
    ]
    text = matrix.page(rows)
    assert "| t | tcp | IPv4 | **FAILED** | no answer |" in text
    assert matrix.tried(text) == {("b", "tcp", "IPv4", "t")}


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        ("refused: EPERM after 0 ms", "EPERM"),
        ("refused: after 3 ms (no address, response code 2)", "refused"),
        ("timeout: after 2000 ms", "no answer"),
        ("timeout: after 20003 ms (14 answers, then none for 17 s)", "stopped"),
    ],
)
def test_the_end_of_an_attempt_in_a_word(observed: str, words: str) -> None:
    assert matrix.outcome(observed) == words
