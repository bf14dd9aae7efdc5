# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, ledger
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

WHEN = "2026-11-21T10:00:00Z"


def event(number: int = 1) -> ledger.Event:
    return ledger.Event("fetched", f"thing {number}", {"sha256": "ab" * 32, "size": number})


def entries(count: int = 3) -> list[dict[str, Any]]:
    return ledger.extend([], map(event, range(count)), actor="ops@desk", when=WHEN)


def lines(found: list[dict[str, Any]]) -> bytes:
    return b"".join(canonical.dumps(entry) + b"\n" for entry in found)


def append(directory: Path, *events: ledger.Event) -> list[dict[str, Any]]:
    return ledger.append(str(directory), events, actor="ops@desk", when=WHEN)


def test_a_ledger_grows_by_links_of_one_chain(tmp_path: Path) -> None:
    assert ledger.read(str(tmp_path)) == []
    first = append(tmp_path, event(1), event(2))
    assert [entry["seq"] for entry in first] == [1, 2]
    assert first[0]["prev"] == ledger.FIRST
    (third,) = append(tmp_path, event(3))
    assert third["prev"] == canonical.digest(first[1])
    assert ledger.read(str(tmp_path)) == [*first, third]
    assert ledger.head([*first, third]) == canonical.digest(third)
    assert (tmp_path / ledger.FILE).stat().st_mode & 0o777 == 0o600


def test_nothing_is_added_to_a_broken_chain(tmp_path: Path) -> None:
    append(tmp_path, event(1), event(2))
    path = tmp_path / ledger.FILE
    path.write_bytes(path.read_bytes().replace(b"thing 1", b"thing 7"))
    before = path.read_bytes()
    with pytest.raises(AirlockError, match="entry 2: the chain of the ledger is broken"):
        append(tmp_path, event(3))
    assert path.read_bytes() == before


def altered(index: int, **changes: Any) -> list[dict[str, Any]]:
    found = entries()
    found[index] = {**found[index], **changes}
    return found


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (lines(entries())[:-1], "the last entry of the ledger is cut off"),
        (lines(entries()[1:]), "entry 1: the chain of the ledger is broken: expected number 1"),
        (lines([entries()[0], entries()[2]]), "entry 2: the chain"),
        (lines([entries()[1], entries()[0]]), "entry 1: the chain"),
        (lines([entries()[0], *entries()]), "entry 2: the chain"),
        (lines(altered(0, subject="x")), "entry 2: the chain"),
        (lines(altered(1, ts="2026-11-21T10:00:01Z")), "entry 3: the chain"),
        (lines(altered(1, result={})), "entry 3: the chain"),
        (lines(altered(0, prev="1" * 64)), "entry 1: the chain"),
        (lines(altered(0, ts="yesterday")), "ts: the value does not fit"),
        (lines(altered(0, seq="1")), "the number does not fit"),
        (lines(altered(0, result=[])), "result of the entry is not a mapping"),
        (lines(altered(0, more=1)), "the key 'more' is unknown"),
        (lines(altered(0, actor="a\nb")), "actor: the value does not fit"),
        (lines(altered(0, kind="Not A Word")), "kind: the value does not fit"),
        (b"\n", "not valid JSON"),
        (lines(entries()).replace(b'"seq":1', b'"seq": 1'), "entry 1: the chain"),
        (b"{" * 5000 + b"\n", "JSON"),
        (b'"' + b"x" * 70_000 + b'"\n', "too large"),
    ],
)
def test_a_ledger_that_somebody_has_been_at_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        ledger.parse(data, "ledger.jsonl")


def test_an_event_that_could_not_be_read_again_is_refused() -> None:
    for bad in (ledger.Event("Two words", "x", {}), ledger.Event("x", "", {})):
        with pytest.raises(AirlockError):
            ledger.extend([], [bad], actor="ops@desk", when=WHEN)
    with pytest.raises(AirlockError, match="too large"):
        long = ledger.Event("x", "y", {"text": "x" * 70_000})
        ledger.extend([], [long], actor="ops@desk", when=WHEN)


@given(st.binary(max_size=300))
def test_nothing_but_a_refusal_escapes(data: bytes) -> None:
    try:
        assert ledger.parse(data, "x") == []
    except AirlockError:
        assert data


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_byte_can_change_but_in_the_last_entry(at: int, value: int) -> None:
    data = bytearray(lines(entries()))
    at %= len(data)
    data[at] = value
    whole = lines(entries())
    if bytes(data) == whole or at >= len(lines(entries()[:2])):
        return
    with pytest.raises(AirlockError):
        ledger.parse(bytes(data), "x")


def _append_often(directory: str) -> None:
    for number in range(20):
        ledger.append(directory, [event(number)], actor="ops@desk", when=WHEN)


def test_two_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_often, args=(str(tmp_path),)) for _writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(ledger.read(str(tmp_path))) == 60


def test_a_long_ledger_is_read_in_time() -> None:
    found = entries(5000)
    assert len(ledger.parse(lines(found), "x")) == 5000
    assert json.loads(lines(found).splitlines()[-1])["seq"] == 5000
