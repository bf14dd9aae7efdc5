# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How copies of a piece of an audit trail fare that somebody has been at."""

from __future__ import annotations

import hashlib
from typing import Any

from ..module_utils import audit_chain, canonical
from ..module_utils.audit_proof import Head, Kept, Prover

LINES = 20
"""Lines of the end of a trail that are worth an attack."""


def attempt(lines: list[bytes], first_key: bytes, size: int) -> list[dict[str, Any]]:
    """Return ``{"probe", "observed", "holds"}`` for each attack on ``lines``, proven ones in a row.

    ``size`` is how many bytes their trail may take. At least four lines are needed; fewer are not worth an attack.
    """
    if len(lines) < 4:
        return []
    begin = audit_chain.parse(lines[0])
    key = audit_chain.key_at(first_key, begin["seq"])
    head = Head(
        audit_chain.parse(lines[-1])["seq"],
        hashlib.sha256(lines[-1]).hexdigest(),
        "this visit",
    )
    edited = canonical.dumps({**audit_chain.parse(lines[1]), "kind": "edited"})
    # What a thief of the key of the last record could do: seal older ones anew with what he has.
    thief = audit_chain.Chain(
        begin["seq"] + 1,
        audit_chain.key_at(key, len(lines)),
        hashlib.sha256(lines[0]).hexdigest(),
    )
    body = {
        name: value
        for name, value in audit_chain.parse(lines[1]).items()
        if name not in audit_chain.OWN
    }
    forged = thief.extend({**body, "kind": "forged"}, begin["time"])
    # He has that key, so what he says of why it is gone is sealed as it should be.
    gone = {"first": begin["seq"], "last": begin["seq"] + 1, "why": "size"}
    gone["sha256"] = hashlib.sha256(lines[1]).hexdigest()
    writer = audit_chain.Chain(head.seq + 1, audit_chain.key_at(key, len(lines) + 1), head.sha256)
    expired = writer.extend({"kind": "expired", **gone}, begin["time"])
    attacks = {
        "an edited record": [lines[0], edited, *lines[2:]],
        "a record sealed anew with the key of the newest": [lines[0], forged, *lines[2:]],
        "a deleted record": [lines[0], *lines[2:]],
        "two records in another order": [lines[0], lines[2], lines[1], *lines[3:]],
        "the last record cut off": lines[:-1],
        "its beginning deleted, and a record that it had grown too large": [*lines[2:], expired],
    }
    return [
        {"probe": f"the trail with {name}", "observed": found or "accepted", "holds": bool(found)}
        for name, attacked in attacks.items()
        for found in [_found(attacked, begin, key, head, size)]
    ]


def _found(lines: list[bytes], begin: dict[str, Any], key: bytes, head: Head, size: int) -> str:
    chain = audit_chain.Chain(begin["seq"], key, begin["prev"])
    prover = Prover(key, [head], chain=chain, kept=Kept("", size))  # no record is older than that
    prover.feed(b"".join(line + b"\n" for line in lines))
    return " ".join(prover.end().findings)
