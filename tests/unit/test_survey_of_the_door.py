# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gatekeeper would refuse at its start is refused before anything is placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.output_rules import Rules

from .conftest import Play

GATEWAY = Path(__file__).resolve().parents[2] / "roles/gateway"


def load(path: str) -> Any:
    return yaml.safe_load((GATEWAY / path).read_text(encoding="utf-8"))


def is_canary(text: str) -> bool:
    try:
        Rules.from_document({"patterns": []}, categories=(), canaries=[text], where="a test")
    except AirlockError:
        return False
    return True


def test_the_role_takes_the_canaries_that_the_gatekeeper_takes() -> None:
    lengths = load("vars/main/main.yml")["__gateway_canary"]
    taken = [length for length in range(1000) if is_canary("x" * length)]
    assert taken == list(range(lengths["least"], lengths["most"] + 1))


@pytest.mark.parametrize(
    ("canaries", "odd"),
    [
        ([], ""),
        (["wren-515", "x" * 300, 12345678], ""),
        (["wren-5150-canary", "wren"], "a string of 4 characters"),
        ([1234567, "x" * 301], "a string of 7 and one of 301 characters"),
    ],
)
def test_a_canary_that_is_none_is_refused_in_a_sentence_without_it(
    play: Play, canaries: list[Any], odd: str
) -> None:
    done = play(
        vars={**load("vars/main/main.yml"), "gateway_canaries": canaries},
        tasks=[load("tasks/survey.yml")[0]],
    )
    said = " ".join(done.stdout.split())
    assert (done.returncode != 0) == bool(odd), done.stdout + done.stderr
    assert odd in said
    assert not odd or "expected 8 to 300" in said
    assert "wren" not in said and "1234567" not in said
