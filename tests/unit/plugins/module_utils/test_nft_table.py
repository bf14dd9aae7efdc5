# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import nft_table
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def told(*items: dict[str, Any]) -> tuple[int, str]:
    return 0, json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}, *items]})


def counter(packets: int, handle: int) -> dict[str, Any]:
    return {"counter": {"name": "out_refused", "handle": handle, "packets": packets, "bytes": 1}}


def rule(verdict: str) -> dict[str, Any]:
    return {"rule": {"chain": "output", "handle": 9, "expr": [{verdict: None}]}}


def test_traffic_is_no_drift_and_a_rule_is() -> None:
    file = nft_table.defined(lambda _command: told(counter(0, 1), rule("drop")), "/x")
    busy = nft_table.loaded(lambda _command: told(counter(77, 5), rule("drop")))
    changed = nft_table.loaded(lambda _command: told(counter(77, 5), rule("accept")))
    assert nft_table.digest(file) == nft_table.digest(busy)
    assert nft_table.digest(file) != nft_table.digest(changed)


def test_no_table_is_not_an_empty_table() -> None:
    assert nft_table.loaded(lambda _command: (1, "No such file or directory")) is None
    assert nft_table.digest(None) is None
    assert nft_table.counters(lambda _command: (127, "nft: missing")) is None
    assert nft_table.text_loaded(lambda _command: (1, "No such file or directory")) == ""


def test_counters_are_packets_by_name() -> None:
    assert nft_table.counters(lambda _command: told(counter(77, 5))) == {"out_refused": 77}


def test_a_counter_that_was_made_anew_rose_from_nothing() -> None:
    assert nft_table.rose({"a": 5, "b": 9}, {"a": 7, "b": 2, "c": 1}) == {"a": 2, "b": 2, "c": 1}
    assert nft_table.rose(None, {"a": 3}) == {"a": 3}
    assert nft_table.rose({"a": 3}, None) == {}


def test_the_file_is_loaded_where_nobody_notices() -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str]:
        commands.append(command)
        return told()

    nft_table.defined(run, "/etc/it's.nft")
    (command,) = commands
    assert command[:2] == ["unshare", "--net"]
    assert "/etc/it's.nft" in command  # an argument of its own, never part of the script


def test_a_file_that_does_not_load_is_refused_with_what_nft_says() -> None:
    with pytest.raises(AirlockError, match=r"^/x: the rules cannot be loaded.*syntax error"):
        nft_table.defined(lambda _command: (1, "syntax error\n"), "/x")


@pytest.mark.parametrize(
    ("kernel", "word"),
    [
        (told(counter(77, 5), rule("drop")), ""),
        (told(counter(77, 5), rule("accept")), "is not that of /x"),
        ((1, "No such file or directory"), "is not loaded"),
    ],
)
def test_drift_is_a_sentence(kernel: tuple[int, str], word: str) -> None:
    def run(command: list[str]) -> tuple[int, str]:
        return told(counter(0, 1), rule("drop")) if command[0] == "unshare" else kernel

    sentence = nft_table.drift(run, "/x")
    assert bool(sentence) == bool(word)
    assert word in sentence
