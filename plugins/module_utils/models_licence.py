# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The licence that the owner wrote, held against those that are known and against what the publisher says."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from .errors import AirlockError
from .models_intent import Intent

_OWN = "LicenseRef-"
_SAYS_NOTHING = ("", "other", "unknown")


def note(intent: Intent, publisher: str, known: Mapping[str, Any]) -> str:
    """Return what to know about the licence of a model, '' for nothing.

    ``publisher`` is what the source gives, '' for nothing; ``known`` maps identifiers to ``hub`` (names
    that publishers use for it) and ``note``. Raises AirlockError for a licence that is not known and for
    one that the publisher contradicts, unless it is waived.
    """
    for waiver in intent.waivers:
        if waiver.of == "licence":
            return f"not checked until {waiver.until.isoformat()}: {waiver.reason}"
    where = f"models.yml: {intent.name}.licence"
    entry = known.get(intent.licence)
    if entry is None and not intent.licence.startswith(_OWN):
        near = difflib.get_close_matches(intent.licence, known, 1)
        raise AirlockError.refuse(
            "the licence is unknown",
            expected=f"{near[0]}" if near else f"an SPDX identifier like Apache-2.0, or {_OWN}NAME",
            found=intent.licence,
            where=where,
        )
    names = entry.get("hub", []) if entry else []
    if publisher.casefold() not in (*names, *_SAYS_NOTHING):
        raise AirlockError.refuse(
            "the publisher gives another licence",
            expected=" or ".join(names) or intent.licence,
            found=publisher,
            where=where,
            fix="write that one, or waive it with a reason and a last day",
        )
    if entry is None:
        return "a licence of the publisher's own; read it"
    return str(entry.get("note", ""))
