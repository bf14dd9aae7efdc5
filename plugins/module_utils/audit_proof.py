# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof of an audit trail, by who has its first key and remembers how far it went.

Content and order are proven by the MACs. That nothing was cut off the end is proven as far as something
outside names a record: heads that were seen at earlier visits, and checkpoints in the journal. Those also prove
that nothing young was cut off the beginning, and so does the time of the first record that is left: the writer
lets nothing go before what follows it is old enough, too.

Or before all of it together is larger than it may be. That proves itself, too: what lies between the first record that
is left and the one that says why is then as large as the trail may be, but for the segment that went.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import audit_chain, audit_segments
from .errors import AirlockError

MAX_FINDINGS = 20
# Records that a line may claim to be further on, so that a wrong number costs no hours.
_FURTHEST = 10_000_000
_GAP = 100_000


@dataclass(frozen=True)
class Head:
    """A record that somebody has seen: its number and the SHA-256 of its line.

    ``source`` says who has seen it, ``early`` that it is too young to have expired.
    """

    seq: int
    sha256: str
    source: str
    early: bool = False


@dataclass(frozen=True)
class Kept:
    """What a trail is allowed to let go: what is not younger than ``since``, in the form of a record's ``time``, and
    the oldest of more than ``size`` bytes; None is nothing for its size.

    ``begins`` is the first record that was left when this trail was last found whole; 0 is unknown.
    ``begun`` is when it was begun, in the same form as ``since``; "" is unknown.
    """

    since: str
    size: int | None = None
    begins: int = 0
    begun: str = ""


@dataclass
class Proof:
    """What a trail turned out to be. It is whole when there are no ``findings``, sentences each."""

    findings: list[str] = field(default_factory=list)
    records: int = 0
    first: int = 0
    last: int = 0
    sha256: str = audit_chain.FIRST
    since: str = ""
    until: str = ""
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Requests by id that were let through and whose end is not recorded."""
    lost: int = 0
    """Requests whose end nobody will record: the gatekeeper died over them."""
    early: int = 0
    """The last record that went before its days were over, for the trail was as large as it may be; 0 is none."""

    @property
    def whole(self) -> bool:
        """Return whether nothing was found."""
        return not self.findings

    def summary(self) -> str:
        """Return what the trail holds, in a sentence."""
        return (
            f"Records {self.first} to {self.last} from {self.since} to {self.until} are "
            f"{'one chain' if self.whole else 'no whole chain'}, the last is {self.sha256[:16]}; "
            f"{len(self.open)} requests go on, {self.lost} were lost with the gatekeeper."
        )


class Prover:
    """Walks a trail once, segment after segment."""

    def __init__(
        self,
        first_key: bytes,
        heads: Iterable[Head] = (),
        chain: audit_chain.Chain | None = None,
        kept: Kept | None = None,
    ):
        """Prove what ``first_key`` begins, or only what goes on from ``chain``.

        Without ``kept`` anything may have expired that nobody has seen.
        """
        self.proof = Proof()
        self._kept = kept
        self._chain = chain or audit_chain.Chain(1, first_key)
        self._heads: dict[int, list[Head]] = {}
        for head in heads:
            self._heads.setdefault(head.seq, []).append(head)
        self._begins_after, self._before_first = 0, ""
        self._bytes = 0
        self._declared: dict[tuple[int, str], bool] = {}
        self._too_young: list[str] = []

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Prove a segment; return its records that are proven. The oldest comes first."""
        lines = data.split(b"\n")
        if lines.pop():
            self._find(f"the line after record {self._chain.seq - 1} is cut off.")
        records = [self._record(line) for line in lines]
        return [record for record in records if record]

    def end(self, next_seq: int | None = None) -> Proof:
        """Return the proof. ``next_seq`` is the number to which the host holds the key, if it was asked.

        Whoever cut off the end of the trail cannot go back to the key of its new end.
        """
        last = self._chain.seq - 1
        if next_seq is not None and next_seq - 1 > last:
            self._find(f"the records after {last} are missing: the key stands at {next_seq}.")
        for seq, heads in sorted(self._heads.items()):
            if seq > last:
                source = ", ".join(sorted({head.source for head in heads}))
                self._find(f"the trail ends at record {last}, and {source} has seen record {seq}.")
        if self._begins_after:
            self._judge_beginning()
        self.proof.last, self.proof.sha256 = last, self._chain.prev
        return self.proof

    def _judge_beginning(self) -> None:
        too_much = self._declared.get((self._begins_after, self._before_first))
        if too_much is None:
            self._find(
                f"the trail begins at record {self._begins_after + 1}, and no record says that those "
                "before it have expired."
            )
        if self._too_young and (too_much or self._begins_as_before()):
            self.proof.early = self._begins_after
        else:
            for finding in self._too_young:
                self._find(finding)

    def _begins_as_before(self) -> bool:
        return self._kept is not None and self._begins_after + 1 == self._kept.begins

    def _was_too_much(self, record: Mapping[str, Any]) -> bool:
        """Return whether the trail was as large as it may be, down to a segment, when ``record`` was written."""
        size = self._kept.size if self._kept else None
        return (
            record.get("why") == "size"
            and size is not None
            and self._bytes + audit_segments.MAX_BYTES > size
        )

    def _record(self, line: bytes) -> dict[str, Any] | None:
        try:
            record = self._follow(line)
        except AirlockError as exc:
            self._find(str(exc))
            self._resume(line)
            return None
        self._bytes += len(line) + 1
        self._note(record)
        return record

    def _follow(self, line: bytes) -> dict[str, Any]:
        if self.proof.records == 0 and not self.proof.findings:
            self._begin(audit_chain.parse(line))
        return self._chain.follow(line)

    def _begin(self, record: Mapping[str, Any]) -> None:
        """Let the trail begin later than at its first record; ``end`` asks who said that it may."""
        seq = record["seq"]
        if seq > self._chain.seq:
            key = audit_chain.key_at(self._chain.key, min(seq - self._chain.seq + 1, _FURTHEST))
            self._chain = audit_chain.Chain(seq, key, record["prev"])
            self._begins_after, self._before_first = seq - 1, record["prev"]
            gone = [
                head
                for number in [*self._heads]
                if number < seq
                for head in self._heads.pop(number)
            ]
            for head in gone:
                if head.early:
                    self._too_young.append(
                        f"record {head.seq} is missing, and too young to have expired."
                    )
            if self._kept is not None and record["time"] > self._kept.since:
                self._too_young.append(
                    f"the trail begins at record {seq} of {record['time']}, and what is before a record "
                    "as young as that cannot have expired."
                )
            if self._kept is not None and record["time"] < self._kept.begun:
                self._find(
                    f"the trail begins at record {seq} of {record['time']}, and was itself begun at "
                    f"{self._kept.begun}."
                )
        self.proof.first, self.proof.since = seq, record["time"]

    def _resume(self, line: bytes) -> None:
        """Go on after a line that is wrong: at its number if it says one further on, else one further."""
        chain = self._chain
        try:
            seq = audit_chain.parse(line)["seq"]
        except AirlockError:
            seq = chain.seq
        if chain.seq <= seq < chain.seq + _GAP and len(self.proof.findings) < MAX_FINDINGS:
            while chain.seq <= seq:
                chain.key, chain.seq = audit_chain.next_key(chain.key), chain.seq + 1
            chain.prev = hashlib.sha256(line).hexdigest()

    def _note(self, record: dict[str, Any]) -> None:
        proof, kind, name = self.proof, record["kind"], str(record.get("id"))
        proof.records += 1
        proof.until = record["time"]
        for head in self._heads.pop(record["seq"], ()):
            if head.sha256 != self._chain.prev:
                self._find(f"record {record['seq']} is not the one that {head.source} has seen.")
        if kind == "open":
            proof.open[name] = record
        elif kind == "done":
            proof.open.pop(name, None)
        elif kind == "lost":
            proof.lost += proof.open.pop(name, None) is not None
        elif kind == "expired":
            gone = (int(record["last"]), str(record["sha256"]))
            self._declared[gone] = self._declared.get(gone, False) or self._was_too_much(record)

    def _find(self, sentence: str) -> None:
        if len(self.proof.findings) < MAX_FINDINGS:
            self.proof.findings.append(sentence)


def sentence(request: Mapping[str, Any]) -> str:
    """Return a record of the kind ``done`` as a line for people: when, who, what, how it ended."""
    what = " ".join(filter(None, (request.get("route"), request.get("service"))))
    tokens = [request.get("prompt_tokens") or 0, request.get("completion_tokens") or 0]
    return (
        f"{request['time']} {_who(request)} at {request.get('client')}: {what or 'no route'}, "
        f"{request.get('status')} {request.get('reason')}, {tokens[0]}+{tokens[1]} tokens, "
        f"{request.get('ms')} ms, id {request.get('id')}"
    )


def _who(request: Mapping[str, Any]) -> str:
    return " for ".join(filter(None, (request.get("key") or "nobody", request.get("subject"))))


class Marked:
    """Keeps the newest requests that something was said of, for people to look at."""

    def __init__(self, most: int) -> None:
        """Keep at most so many for the screen, the filter and what is uncertain each."""
        self._kept: dict[str, deque[str]] = {source: deque(maxlen=most) for source in _SOURCES}

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take more records, the oldest first; those of the kind ``done`` are of requests."""
        for record in records:
            verdicts = record.get("verdicts")
            if record["kind"] != "done" or not isinstance(verdicts, list):
                continue
            for source, kept in self._kept.items():
                said = [each for each in map(str, verdicts) if each.startswith(f"{source}:")]
                if said:
                    kept.append(_mark(record, said))

    def lines(self) -> dict[str, list[str]]:
        """Return a line for each, by what said it: ``screen``, ``filter``, ``uncertain``."""
        return {source: list(kept) for source, kept in self._kept.items() if kept}


_SOURCES = ("screen", "filter", "uncertain")  # how verdicts begin


def _mark(request: Mapping[str, Any], said: list[str]) -> str:
    model = request.get("model") or request.get("service") or "no model"
    return f"{request['time']} {_who(request)}: {model}, {' '.join(said)}, id {request.get('id')}"


class Callers:
    """Adds up who asked."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take more records; those of the kinds ``done`` and ``counted`` are of requests."""
        for record in records:
            if record["kind"] not in ("done", "counted"):
                continue
            who = (str(record.get("key") or "nobody"), str(record.get("subject") or ""))
            row = self._rows.setdefault(
                who,
                {
                    "key": who[0],
                    "subject": who[1],
                    "requests": 0,
                    "refused": 0,
                    "tokens": 0,
                    "last": "",
                },
            )
            ended = record.get("requests") or {f"{record.get('status')}": 1}
            row["requests"] += sum(ended.values())
            row["refused"] += sum(
                count for how, count in ended.items() if not how.startswith("200")
            )
            row["tokens"] += sum(
                record.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")
            )
            row["last"] = record["time"]

    def rows(self) -> list[dict[str, Any]]:
        """Return ``{"key", "subject", "requests", "refused", "tokens", "last"}`` of each, most first."""
        return sorted(self._rows.values(), key=lambda row: -int(row["requests"]))
