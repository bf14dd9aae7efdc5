# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to an audit trail, and that it is found."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import (
    audit_chain,
    audit_segments,
    canonical,
)
from ansible_collections.homelab.airlock.plugins.module_utils.audit_chain import Chain
from ansible_collections.homelab.airlock.plugins.module_utils.audit_proof import (
    Callers,
    Head,
    Kept,
    Marked,
    Proof,
    Prover,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

KEY = bytes(range(32))
TIME = "2026-11-21T10:00:00.000Z"
RECORDS: list[dict[str, Any]] = [
    {"kind": "started", "trail": "00" * 8},
    {"kind": "open", "id": "a", "key": "alice"},
    {"kind": "done", "id": "a", "key": "alice", "status": 200, "prompt_tokens": 3},
    {"kind": "open", "id": "b", "key": "bob"},
    {"kind": "lost", "id": "b"},
    {"kind": "done", "id": "c", "key": None, "status": 401, "reason": "no_key"},
]


def write(records: list[dict[str, Any]], chain: Chain | None = None) -> list[bytes]:
    chain = chain or Chain(1, KEY)
    return [chain.extend(record, TIME) for record in records]


def text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def prove(data: bytes, *heads: Head, key: bytes = KEY, next_seq: int | None = None) -> Proof:
    prover = Prover(key, heads)
    prover.feed(data)
    return prover.end(next_seq)


def head(lines: list[bytes], *, early: bool = True) -> Head:
    return Head(len(lines), hashlib.sha256(lines[-1]).hexdigest(), "an earlier visit", early)


LINES = write(RECORDS)
HEAD = head(LINES)


def test_an_untouched_trail_is_whole() -> None:
    proof = prove(text(LINES), HEAD, head(LINES[:3]), next_seq=7)
    assert proof.findings == []
    assert (proof.records, proof.first, proof.last, proof.sha256) == (6, 1, 6, HEAD.sha256)
    assert (proof.open, proof.lost) == ({}, 1)
    assert "Records 1 to 6" in proof.summary()


def test_a_request_without_an_end_is_shown() -> None:
    assert list(prove(text(LINES[:2])).open) == ["a"]


def test_every_change_of_one_byte_is_found() -> None:
    data = text(LINES)
    for place, byte in enumerate(data):
        for other in {byte ^ 1, byte ^ 0x20, 0x0A, 0x30, 0x22} - {byte}:
            changed = data[:place] + bytes([other]) + data[place + 1 :]
            assert prove(changed, HEAD).findings, (place, other)


@given(st.binary(min_size=1, max_size=3), st.integers(0, len(text(LINES))))
def test_every_insertion_is_found(extra: bytes, place: int) -> None:
    data = text(LINES)
    assert prove(data[:place] + extra + data[place:], HEAD).findings


def test_every_deletion_of_bytes_is_found() -> None:
    data = text(LINES)
    for place in range(len(data)):
        assert prove(data[:place] + data[place + 1 :], HEAD).findings, place


def test_every_deletion_of_records_is_found() -> None:
    for count in range(1, len(LINES) + 1):
        for gone in itertools.combinations(range(len(LINES)), count):
            kept = [line for number, line in enumerate(LINES) if number not in gone]
            assert prove(text(kept), HEAD).findings, gone


def test_every_other_order_is_found() -> None:
    for order in itertools.permutations(range(len(LINES))):
        if list(order) != sorted(order):
            assert prove(text([LINES[number] for number in order]), HEAD).findings, order


def test_every_repetition_is_found() -> None:
    for first, second in itertools.product(range(len(LINES)), range(len(LINES) + 1)):
        assert prove(text([*LINES[:second], LINES[first], *LINES[second:]]), HEAD).findings


def test_every_truncation_behind_what_was_seen_is_found() -> None:
    data = text(LINES)
    for end in range(len(data)):
        assert prove(data[:end], HEAD).findings, end


def test_a_truncation_behind_the_key_is_found_without_a_memory() -> None:
    for count in range(len(LINES)):
        assert prove(text(LINES[:count]), next_seq=7).findings, count


def test_a_truncation_after_the_last_checkpoint_is_not() -> None:
    """The limit that the guide states: nothing outside knows those records yet."""
    assert prove(text(LINES[:4]), head(LINES[:3]), next_seq=5).findings == []


def test_records_of_another_trail_are_found() -> None:
    for place, (mine, theirs) in enumerate(
        zip(LINES, write(RECORDS, Chain(1, b"k" * 32)), strict=True)
    ):
        assert mine != theirs
        assert prove(text([*LINES[:place], theirs, *LINES[place + 1 :]]), HEAD).findings
    assert prove(text(write(RECORDS, Chain(1, b"k" * 32))), HEAD).findings


def test_an_older_copy_is_found_by_who_remembers() -> None:
    older = LINES[:3]
    assert prove(text(older), head(older), next_seq=4).findings == []
    [finding] = prove(text(older), head(older), HEAD, next_seq=4).findings
    assert finding == "the trail ends at record 3, and an earlier visit has seen record 6."


def test_another_future_than_the_one_seen_is_found() -> None:
    """Who had the key of record 4 goes back to a copy of then, and writes other records."""
    stolen = Chain(4, audit_chain.key_at(KEY, 4), hashlib.sha256(LINES[2]).hexdigest())
    forged = [*LINES[:3], *write([RECORDS[5]] * 4, stolen)]
    assert prove(text(forged)).findings == []
    assert "not the one that an earlier visit has seen" in prove(text(forged), HEAD).findings[0]


def test_records_of_two_futures_do_not_mix() -> None:
    """An older copy with its key was brought back: both futures are sealed, and each is its own chain."""
    seen_then = Chain(4, audit_chain.key_at(KEY, 4), hashlib.sha256(LINES[2]).hexdigest())
    other = write([RECORDS[5]] * 3, seen_then)
    assert prove(text([*LINES[:3], *other])).whole
    for place in (4, 5):
        assert prove(text([*LINES[:place], *other[place - 3 :]])).findings, place


def test_the_last_line_has_one_form_only() -> None:
    for other in (b" " + LINES[-1], LINES[-1].replace(b":", b": ", 1), LINES[-1] + b" "):
        assert prove(text([*LINES[:-1], other])).findings


def test_a_chain_holds_no_key_of_what_it_wrote() -> None:
    chain = Chain(1, KEY)
    for number, record in enumerate(RECORDS, 2):
        chain.extend(record, TIME)
        assert chain.key == audit_chain.key_at(KEY, number)
    keys = [audit_chain.key_at(KEY, number) for number in range(1, 8)]
    assert len(set(keys)) == len(keys)


def test_the_key_that_a_thief_finds_seals_nothing_older() -> None:
    """Forward security: with the key of record 7 no record before 7 can be written anew."""
    for place in range(len(LINES)):
        previous = hashlib.sha256(LINES[place - 1]).hexdigest() if place else audit_chain.FIRST
        for guess in range(7, 10):
            thief = Chain(place + 1, audit_chain.key_at(KEY, guess), previous)
            forged = [*LINES[:place], *write(RECORDS[place:], thief)]
            assert prove(text(forged)).findings, (place, guess)


def test_segments_are_one_chain() -> None:
    prover = Prover(KEY, [HEAD])
    records = [*prover.feed(text(LINES[:2])), *prover.feed(text(LINES[2:])), *prover.feed(b"")]
    assert [record["kind"] for record in records] == [record["kind"] for record in RECORDS]
    assert prover.end().whole


def test_expired_records_are_declared_or_missing() -> None:
    gone = hashlib.sha256(LINES[2]).hexdigest()
    chain = Chain(7, audit_chain.key_at(KEY, 7), HEAD.sha256)
    declared = chain.extend({"kind": "expired", "first": 1, "last": 3, "sha256": gone}, TIME)
    rest = text([*LINES[3:], declared])
    proof = prove(rest, HEAD)
    assert (proof.findings, proof.first, proof.records) == ([], 4, 4)
    assert "no record says" in prove(text(LINES[3:]), HEAD).findings[0]
    assert "too young to have expired" in prove(rest, head(LINES[:2])).findings[0]
    assert prove(rest, head(LINES[:2], early=False)).whole


def test_who_has_todays_key_cannot_let_the_past_expire() -> None:
    """The writer's user deletes what lies before record 4, and seals that it has expired."""
    chain = Chain(7, audit_chain.key_at(KEY, 7), HEAD.sha256)
    gone = {"kind": "expired", "first": 1, "last": 3, "sha256": canonical.loads(LINES[3])["prev"]}
    data = text([*LINES[3:], chain.extend(gone, TIME)])
    for kept_since, found in (("2026-11-21T09:59:59.999Z", True), (TIME, False)):
        prover = Prover(KEY, kept=Kept(kept_since))
        prover.feed(data)
        findings = prover.end().findings
        assert any("cannot have expired" in finding for finding in findings) == found, kept_since
    prover = Prover(KEY, kept=Kept("2026-01-01T00:00:00.000Z"))
    prover.feed(text(LINES))
    assert prover.end().whole, "a trail that begins at its beginning may be as young as it likes"


LIMIT = audit_segments.MAX_BYTES + len(text(LINES[3:]))
"""A trail may be as large as what is left of this one and the largest segment together."""


def test_nothing_in_a_trail_is_older_than_the_trail() -> None:
    """Who seals a first record with an old time does not know when the controller began the trail."""
    gone = {"kind": "expired", "first": 1, "last": 6, "sha256": HEAD.sha256}
    chain = Chain(7, audit_chain.key_at(KEY, 7), HEAD.sha256)
    data = text([chain.extend(gone, "2026-08-01T10:00:00.000Z")])
    for begun, found in (("2026-11-01T10:00:00.000Z", True), ("2026-07-01T10:00:00.000Z", False)):
        prover = Prover(KEY, kept=Kept("2026-08-23T10:00:00.000Z", begun=begun))
        prover.feed(data)
        findings = prover.end().findings
        assert any("was itself begun" in finding for finding in findings) == found, begun


def gone_for(why: str, last: int = 3) -> dict[str, Any]:
    sha256 = hashlib.sha256(LINES[last - 1]).hexdigest()
    return {"kind": "expired", "first": 1, "last": last, "sha256": sha256, "why": why}


def judged(records: list[dict[str, Any]], kept: Kept, *heads: Head) -> Proof:
    """Prove what is left from record 4 on, and ``records`` after it."""
    chain = Chain(7, audit_chain.key_at(KEY, 7), HEAD.sha256)
    prover = Prover(KEY, [HEAD, *heads], kept=kept)
    prover.feed(text([*LINES[3:], *write(records, chain)]))
    return prover.end()


@pytest.mark.parametrize(
    ("why", "size", "early"),
    [("size", LIMIT, 3), ("size", LIMIT + 1000, 0), ("size", None, 0), ("age", LIMIT, 0)],
    ids=["it was", "it was not", "it may be of any size", "it does not say so"],
)
def test_young_records_may_go_from_a_trail_that_was_too_large(
    why: str, size: int | None, early: int
) -> None:
    proof = judged([gone_for(why)], Kept("", size), head(LINES[:2]))
    assert proof.early == early
    assert proof.whole == bool(early)
    if not early:
        assert "record 2 is missing, and too young" in proof.findings[0]
        assert "cannot have expired" in proof.findings[1]


def test_what_grows_after_a_deletion_does_not_prove_it() -> None:
    """Who deleted the past cannot make it up by filling the trail later, nor with a word about other records."""
    filling = [RECORDS[5]] * 50
    assert not judged([gone_for("size"), *filling], Kept("", LIMIT + 2000)).whole
    assert judged([*filling, gone_for("size")], Kept("", LIMIT + 2000)).whole
    assert not judged([*filling, gone_for("size", 2), gone_for("age")], Kept("", LIMIT)).whole


def test_a_writer_that_died_before_it_deleted_says_so_twice() -> None:
    for records in ([gone_for("size")] * 2, [gone_for("size"), gone_for("age")]):
        assert judged(records, Kept("", LIMIT)).early == 3


def test_a_beginning_that_a_visit_has_judged_is_not_judged_by_another_limit() -> None:
    """The owner raised it since. What is deleted after that visit begins elsewhere."""
    for begins, whole in ((4, True), (1, False), (3, False)):
        assert judged([gone_for("size")], Kept("", LIMIT * 9, begins), HEAD).whole == whole
    assert not judged([], Kept("", LIMIT, 4)).whole, "and somebody must have said why"


def test_after_a_finding_the_rest_is_still_proven() -> None:
    proof = prove(text([LINES[0], *LINES[2:]]), HEAD)
    assert len(proof.findings) == 1
    assert "expected record 2" in proof.findings[0]
    assert (proof.records, proof.last) == (4, 6)


def test_a_line_that_claims_to_be_far_away_costs_nothing() -> None:
    far = canonical.loads(LINES[1])
    lines = [LINES[0], *[canonical.dumps({**far, "seq": 10**9 + n}) for n in range(50)]]
    assert len(prove(text(lines)).findings) == 20


@pytest.mark.parametrize("own", audit_chain.OWN)
def test_who_sends_records_cannot_fill_in_what_is_the_writers(own: str) -> None:
    chain = Chain(1, KEY)
    with pytest.raises(AirlockError, match="a field of the trail"):
        chain.extend({"kind": "done", own: "x"}, TIME)
    assert chain.seq == 1


def test_a_record_that_is_no_text_or_too_large_is_refused() -> None:
    for value in ("\ud800", "x" * 70_000, 0.5):
        with pytest.raises(AirlockError):
            Chain(1, KEY).extend({"kind": "done", "value": value}, TIME)


@given(st.binary(max_size=200))
def test_no_line_breaks_the_proof(data: bytes) -> None:
    assert prove(text(LINES[:1]) + data + b"\n").findings


def test_callers_are_added_up() -> None:
    callers = Callers()
    callers.add({**RECORDS[2], "time": TIME} for _again in range(2))
    callers.add([{**RECORDS[5], "time": TIME}])
    callers.add(
        [{"kind": "counted", "key": "alice", "requests": {"401 revoked_key": 7}, "time": TIME}]
    )
    callers.add([{"kind": "stopped", "time": TIME}])
    alice, nobody = callers.rows()
    assert (alice["key"], alice["requests"], alice["refused"], alice["tokens"]) == (
        "alice",
        9,
        7,
        6,
    )
    assert (nobody["key"], nobody["refused"]) == ("nobody", 1)


def test_the_newest_that_were_marked_are_kept_by_who_marked_them() -> None:
    marked = Marked(2)
    done = {**RECORDS[2], "time": TIME, "model": "small"}
    marked.add(
        {**done, "id": name, "verdicts": ["uncertain:x", "filter:y", "uncertain:z"]}
        for name in "abc"
    )
    marked.add([{**done, "id": "d", "verdicts": ["filter:y", "nobody:knows"]}, RECORDS[0]])
    marked.add({**done, "kind": kind, "verdicts": said} for kind, said in MARKED_OTHERWISE)
    assert marked.lines() == {
        "filter": [f"{TIME} alice: small, filter:y, id {name}" for name in "cd"],
        "uncertain": [f"{TIME} alice: small, uncertain:x uncertain:z, id {name}" for name in "bc"],
    }


MARKED_OTHERWISE: list[tuple[str, Any]] = [
    ("open", ["screen:x"]), ("done", []), ("done", None), ("done", "screen:x"), ("done", [1, None]),
]  # fmt: skip
