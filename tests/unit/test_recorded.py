# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify makes of requests with and without a line in the audit trail, and of names that lead elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
PROBES = yaml.safe_load((ROOT / "roles/gateway/vars/main/probes.yml").read_text())
JUDGED = (
    "request_ids",
    "unrecorded",
    "counted",
    "is_recorded",
    "named",
    "lost",
    "strayed",
    "named_records",
)
NAMES = ["ai.home.arpa", "ai.example.org"]
LINE = '{"id":"%s","kind":"done"}'
COUNT = '{"client":"192.0.2.1","kind":"counted","requests":{"404 unknown_route":%d}}'


def asked(what: str, request: str | None, detail: str = "") -> dict[str, Any]:
    headers = {} if request is None else {"x-request-id": request}
    return {"id": what, "headers": headers, "detail": detail}


def judged(play: Play, results: list[dict[str, Any]], trail: str, later: str) -> list[str]:
    """Return whether all is recorded, and which names lead elsewhere."""
    done = play(
        vars={
            **{f"__gateway_{name}": PROBES[f"__gateway_{name}"] for name in JUDGED},
            "__gateway_names": NAMES,
            "__gateway_client": "client",
            "__gateway_knocked": {"results": results},
            "__gateway_trail": {"stdout": trail},
            "__gateway_trail_later": {"stdout": later} if later else {"skipped": True},
        },
        tasks=[
            {
                "ansible.builtin.debug": {
                    "msg": "said {{ [__gateway_is_recorded, __gateway_named_records[0].holds,"
                    " __gateway_named_records[0].observed] | to_json }}"
                }
            }
        ],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join(done.stdout.split()).partition("said ")[2]
    found: list[str] = json.JSONDecoder().raw_decode(text.replace('\\"', '"'))[0]
    return found


FIRST = asked("models", "a1")
HERE = [asked(NAMES[0], "b2"), asked(NAMES[1], "c3")]
TRAIL = "\n".join([COUNT % 9, *(LINE % one for one in ("a1", "b2", "c3"))])
NO_LINE = "\n".join([COUNT % 9, LINE % "a1"])


@pytest.mark.parametrize(
    ("results", "trail", "later", "said"),
    [
        ([FIRST, *HERE], TRAIL, "", [True, True, "to this host"]),
        ([FIRST, *HERE], NO_LINE, f"{NO_LINE}\n{COUNT % 2}\n", [True, True, "to this host"]),
        (
            [FIRST, *HERE],
            NO_LINE,
            f"{NO_LINE}\n{COUNT % 1}\n",
            [
                False,
                False,
                f"{NAMES[0]}: another machine answers; {NAMES[1]}: another machine answers",
            ],
        ),
        (
            [FIRST, HERE[0], asked(NAMES[1], None, "no such name")],
            TRAIL,
            "",
            [True, False, f"{NAMES[1]}: no such name"],
        ),
    ],
    ids=["a line each", "counted", "too few counted", "no name"],
)
def test_a_request_has_a_line_or_is_counted_after_it(
    play: Play, results: list[dict[str, Any]], trail: str, later: str, said: list[Any]
) -> None:
    assert judged(play, results, trail, later) == said
