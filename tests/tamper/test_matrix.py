# SPDX-License-Identifier: GPL-3.0-or-later
"""Every attack, before and after: with each level of check alone, as if it were the only one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import custody
from ansible_collections.homelab.airlock.tests.tamper import page
from ansible_collections.homelab.airlock.tests.tamper.attacks import ATTACKS, Attack
from ansible_collections.homelab.airlock.tests.tamper.house import House

LEAST_ATTACKS, LEAST_BY_RECEIPT = 20, 16
LEVELS = (custody.RECEIPT, custody.CONTENT, custody.FULL)
_found: dict[str, dict[int, str]] = {}
_held: list[IO[bytes]] = []


def read_so_far() -> int:
    """Return how many bytes this process has asked for (proc(5), io)."""
    with open("/proc/self/io", encoding="ascii") as source:
        return int(source.readline().split()[1])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.title)
def test_an_attack_is_caught(attack: Attack, build: Callable[[], House]) -> None:
    found = {}
    for level in LEVELS:
        house = build()
        house.ingest(attack.before)
        if not attack.before:
            assert house.caught(level) == "", "the positive control: untouched, it starts"
        attack.act(house)
        found[level] = house.caught(level)
    _found[attack.title] = found
    assert bool(found[custody.RECEIPT]) is not bool(attack.missed), found
    assert found[custody.CONTENT], "every byte was read, and nobody noticed"
    assert found[custody.FULL], "every byte was read, and nobody noticed"


def test_a_receipt_costs_no_byte_of_the_model(build: Callable[[], House]) -> None:
    house = build()
    house.ingest(None)
    subject, book = house.subject(), house.book
    before = read_so_far()
    assert custody.prove(subject, book, house.moment).level == custody.RECEIPT
    assert read_so_far() - before < 4096 < len(house.data)


def test_who_may_write_gets_no_receipt(build: Callable[[], House]) -> None:
    house = build()
    house.ingest(None)
    with house.path.open("rb"):  # readers do not matter
        assert custody.prove(house.subject(), house.book, house.moment, least=2).state == custody.OK
    house.edit(lambda path: _held.append(path.open("r+b")))
    finding = custody.prove(house.subject(), house.book, house.moment)
    _held.pop().close()
    assert (finding.state, finding.expected) == (custody.CORRUPT, "nobody who may write to it")


def test_the_matrix_is_large_enough_and_the_page_tells_it(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    if len(_found) < len(ATTACKS):
        pytest.skip("only some of the attacks were tried")
    assert len(_found) >= LEAST_ATTACKS
    assert sum(bool(found[custody.RECEIPT]) for found in _found.values()) >= LEAST_BY_RECEIPT
    text = page.page(ATTACKS, _found)
    with capsys.disabled():
        print("\n" + page.plain(_found))
    if pytestconfig.getoption("--write-page"):
        page.PATH.write_text(text, encoding="utf-8")
    assert Path(page.PATH).read_text(encoding="utf-8") == text, (
        "docs/tamper-matrix.md is not what was found: run tests/run-tamper --write-page"
    )
