# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of evaluations: what a release answered, bound to exactly that release and those questions.

``<site>/evidence/releases/<release>.json``::

    {"record": {"version": 1, "service", "release", "digest": "<64 hex>", "mode",
                "suite": {"version", "sha256"}, "results": [{"id", "passed", "why", "answer",
                "answer_sha256"}], "verdict": "green" | "red"},
     "sha256": "<of the canonical JSON of record>", "when": "<RFC 3339, UTC>"}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .evaluation import MODES, Judged, Suite
from .files import read_limited, write_atomic

GREEN = "green"
RED = "red"
STALE = "stale"
NONE = "none"
_VERSION = 1
_LIMIT = 4 * 1024 * 1024
_RELEASE = r"[a-z][a-z0-9-]{0,127}"


@dataclass(frozen=True)
class Release:
    """What a record is bound to; ``digest`` is that of manifest, runtime and flags."""

    service: str
    release: str
    digest: str
    mode: str

    @classmethod
    def of(cls, value: Any) -> Release:
        """Return the release that a task names. Raises AirlockError."""
        entry = schema.fields(value, "release", required=("service", "release", "digest", "mode"))
        return cls(
            schema.text(entry["service"], "service", _RELEASE, "chat"),
            schema.text(entry["release"], "release", _RELEASE, "chat-1a2b3c4d"),
            schema.sha256(entry["digest"], "digest"),
            schema.choice(entry["mode"], "mode", MODES),
        )


@dataclass(frozen=True)
class State:
    """How a release stands: GREEN, RED, STALE or NONE, and the sentence that says so."""

    verdict: str
    sentence: str


def write(
    directory: str, release: Release, suite: Suite, judged: Sequence[Judged], when: str
) -> State:
    """Keep how ``release`` did and return it. ``when`` is RFC 3339, UTC. Raises OSError."""
    record = {
        "version": _VERSION,
        **_identity(release, suite),
        "service": release.service,
        "release": release.release,
        "mode": release.mode,
        "results": [each.document() for each in judged],
        "verdict": GREEN if judged and all(each.passed for each in judged) else RED,
    }
    document = {"record": record, "sha256": canonical.digest(record), "when": when}
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write_atomic(
        os.path.join(directory, f"{release.release}.json"),
        canonical.dumps(document) + b"\n",
        mode=0o600,
    )
    return read(directory, release, suite)


def read(directory: str, release: Release, suite: Suite) -> State:
    """Return how ``release`` stands by the record in ``directory``.

    A record of another digest or of other questions is STALE. Raises AirlockError for one that is
    not what was written, and OSError.
    """
    path = os.path.join(directory, f"{release.release}.json")
    try:
        document = canonical.loads(read_limited(path, _LIMIT), where=path)
    except FileNotFoundError:
        return State(NONE, f"release {release.release} was never evaluated.")
    entry = schema.fields(document, path, required=("record", "sha256", "when"))
    record = entry["record"]
    if not isinstance(record, dict) or canonical.digest(record) != entry["sha256"]:
        raise AirlockError.refuse(
            "the record of an evaluation was changed",
            expected=f"the digest {entry['sha256']}",
            where=path,
            fix="remove it and run release.yml, which evaluates anew",
        )
    for key, wanted in _identity(release, suite).items():
        if record.get(key) != wanted:
            return State(
                STALE,
                f"release {release.release} was evaluated as something else: expected {key} "
                f"{_short(wanted)}, found {_short(record.get(key))} in {path}.",
            )
    results = record["results"]
    failed = [f"{item['id']}: {item['why']}" for item in results if not item["passed"]]
    if record.get("verdict") != GREEN or failed or not results:
        return State(
            RED,
            f"release {release.release} failed {len(failed)} of {len(results)} questions "
            f"({'; '.join(failed)}); {path} has the answers.",
        )
    return State(
        GREEN,
        f"release {release.release} passed {len(results)} questions of {suite.version} at "
        f"{entry['when']}.",
    )


def _identity(release: Release, suite: Suite) -> dict[str, Any]:
    return {
        "digest": release.digest,
        "suite": {"version": suite.version, "sha256": suite.sha256},
    }


def _short(value: Any) -> str:
    return str(value["version"] if isinstance(value, dict) and "version" in value else value)[:16]
