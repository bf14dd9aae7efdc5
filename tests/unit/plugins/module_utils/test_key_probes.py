# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import evidence
from ansible_collections.homelab.airlock.plugins.module_utils.key_probes import attempts, untried

SERVICES = {"chat": {"model": "m"}, "embed": {"model": "m", "mode": "embedding"}}
SECRETS = {"alice": "aik_alice_x"}
CONTROLS = {"scope": "KEY-01", "length": "KEY-02", "credential": "KEY-03"}


def tried(scope: dict[str, Any]) -> list[tuple[str, str, int]]:
    requests = attempts(
        {"alice": scope, "revoked": {"services": ["chat"]}}, SECRETS, SERVICES, CONTROLS
    )
    assert {request["key"] for request in requests} <= {"aik_alice_x"}
    return [
        (request["control"], request["id"].removesuffix(" (key alice)"), request["expect_status"])
        for request in requests
    ]


ALWAYS = [
    ("KEY-01", "a route that it opens", 200),
    ("KEY-03", "one key in two headers", 200),
    ("KEY-03", "two keys", 400),
]
OTHER = ("KEY-01", "a service that it does not open", 404)
LONG = ("KEY-02", "too long an answer", 400)


@pytest.mark.parametrize(
    ("scope", "requests"),
    [
        ({"services": ["chat", "embed"]}, ALWAYS),
        ({"services": ["chat"]}, [*ALWAYS, OTHER]),
        ({"services": ["chat"], "max_tokens": 9}, [*ALWAYS, OTHER, LONG]),
        ({"services": ["embed"], "max_tokens": 9}, [*ALWAYS, OTHER]),
        ({"services": ["chat"], "requests_per_minute": 5}, ALWAYS[2:]),
        (
            {"services": ["chat"], "routes": ["/v1/chat/completions"]},
            [("KEY-01", "a route that it does not open", 403), OTHER],
        ),
        (
            {"services": ["chat"], "certificate": "ab" * 32},
            [("KEY-01", "without the certificate that it is bound to", 403)],
        ),
        ({"services": ["chat"], "hours": "08:00-09:00 UTC"}, [*ALWAYS, OTHER]),
        ({"services": ["chat"], "networks": ["10.0.0.0/8"]}, [*ALWAYS, OTHER]),
    ],
)
def test_each_key_is_tried_inside_and_beyond_its_scope(
    scope: dict[str, Any], requests: list[tuple[str, str, int]]
) -> None:
    assert tried(scope) == requests


@pytest.mark.parametrize(
    ("scope", "bounds"),
    [
        ({}, ""),
        ({"max_tokens": 9, "routes": ["/v1/models"], "requests_per_minute": 10}, ""),
        ({"hours": "08:00-09:00 UTC"}, "hours"),
        (
            {"networks": ["10.0.0.0/8"], "requests_per_minute": 9},
            "networks and requests_per_minute",
        ),
        ({"certificate": "ab" * 32}, "certificate"),
    ],
)
def test_what_is_not_tried_with_a_key_is_said(scope: dict[str, Any], bounds: str) -> None:
    records = untried({"alice": {"services": ["chat"], **scope}}, "KEY-01")
    assert [record["probe"] for record in records] == (
        [f"the {bounds} of the key alice"] if bounds else []
    )
    for record in records:
        assert (
            evidence.judge(
                holds=record["holds"],
                denial=record["denial"],
                positive_control=record.get("positive_control"),
                today=date(2026, 11, 21),
            )
            == "unproven"
        )
