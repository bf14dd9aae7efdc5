# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of a site: who did what to what, when, and how it ended.

JSON Lines; each line is canonical JSON and names the SHA-256 of the line before, without its line feed::

    {"actor": "ops@desk", "kind": "fetched", "prev": "<hex>", "result": {...}, "seq": 1,
     "subject": "model chat, model.gguf", "ts": "2026-11-21T10:00:00Z"}

So no entry can be changed, taken out or put in without all later ones changing. An end that was cut
off leaves a chain that is whole; it shows where something outside names a later entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import alone, read_limited, sha256_bytes, write_atomic

FILE = "ledger.jsonl"
FIRST = "0" * 64
"""What the first entry names as the one before it."""

_KEYS = ("actor", "kind", "prev", "result", "seq", "subject", "ts")
_MAX_BYTES = 256 * 1024 * 1024
_MAX_LINE = 64 * 1024
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_LINE = r"[^\0\n]{1,500}"
_KIND = r"[a-z][a-z-]{0,40}"


@dataclass(frozen=True)
class Event:
    """Something that happened: its kind in a word, what it happened to, and how it ended."""

    kind: str
    subject: str
    result: Mapping[str, Any]


def parse(data: bytes, where: str) -> list[dict[str, Any]]:
    """Return the entries of a ledger whose chain is whole. Raises AirlockError where it is not."""
    entries: list[dict[str, Any]] = []
    previous = FIRST
    lines = data.split(b"\n")
    if lines.pop():
        raise AirlockError.refuse(
            "the last entry of the ledger is cut off",
            where=where,
            fix="restore the file from a backup of the site directory",
        )
    for number, line in enumerate(lines, 1):
        spot = f"{where}: entry {number}"
        entry = _entry(line, spot)
        if (entry["seq"], entry["prev"]) != (number, previous) or canonical.dumps(entry) != line:
            raise AirlockError.refuse(
                "the chain of the ledger is broken",
                expected=f"number {number} after {previous[:16]}",
                found=f"number {entry['seq']} after {entry['prev'][:16]}",
                where=spot,
                fix="an entry before it was changed, removed or added: find out by whom, and "
                "restore the file from a backup of the site directory",
            )
        entries.append(entry)
        previous = sha256_bytes(line)
    return entries


def head(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of the last entry, which stands for the whole chain."""
    return canonical.digest(entries[-1]) if entries else FIRST


def extend(
    entries: Sequence[Mapping[str, Any]], events: Iterable[Event], *, actor: str, when: str
) -> list[dict[str, Any]]:
    """Return the entries that come after ``entries``. ``when`` is RFC 3339, UTC, whole seconds.

    Raises AirlockError for an event that could not be read again.
    """
    previous, added = head(entries), []
    for number, event in enumerate(events, len(entries) + 1):
        line = canonical.dumps(
            {
                "actor": actor,
                "kind": event.kind,
                "prev": previous,
                "result": dict(event.result),
                "seq": number,
                "subject": event.subject,
                "ts": when,
            }
        )
        added.append(_entry(line, f"{event.kind} {event.subject}"))
        previous = sha256_bytes(line)
    return added


def read(directory: str) -> list[dict[str, Any]]:
    """Return the entries of the ledger in ``directory``, [] when there is none.

    Raises AirlockError, OSError.
    """
    return parse(_bytes(os.path.join(directory, FILE)), os.path.join(directory, FILE))


def append(
    directory: str, events: Sequence[Event], *, actor: str, when: str
) -> list[dict[str, Any]]:
    """Add ``events`` to the ledger in ``directory`` and return their entries.

    A ledger whose chain is broken is refused. Raises AirlockError, OSError.
    """
    path = os.path.join(directory, FILE)
    with alone(directory):
        data = _bytes(path)
        added = extend(parse(data, path), events, actor=actor, when=when)
        lines = b"".join(canonical.dumps(entry) + b"\n" for entry in added)
        # As a whole, so that a power cut leaves no half entry, which would break the chain.
        write_atomic(path, data + lines, mode=0o600)
    return added


def _bytes(path: str) -> bytes:
    try:
        return read_limited(path, _MAX_BYTES)
    except FileNotFoundError:
        return b""


def _entry(line: bytes, where: str) -> dict[str, Any]:
    entry = schema.fields(
        canonical.loads(line, where=where, max_bytes=_MAX_LINE), where, required=_KEYS
    )
    schema.text(entry["actor"], f"{where}: actor", _LINE, "ops@desk")
    schema.text(entry["kind"], f"{where}: kind", _KIND, "fetched")
    schema.text(entry["subject"], f"{where}: subject", _LINE, "model chat")
    schema.text(entry["ts"], f"{where}: ts", _TIME, "2026-11-21T10:00:00Z")
    schema.sha256(entry["prev"], f"{where}: prev")
    schema.integer(entry["seq"], f"{where}: seq", 1, 2**31)
    if not isinstance(entry["result"], dict):
        raise AirlockError.refuse("the result of the entry is not a mapping", where=where)
    return entry
