# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.filter.certificate_records import (
    certificate_records,
)
from ansible_collections.homelab.airlock.plugins.module_utils import evidence

# What the modules of community.crypto say.
CERTIFICATE: dict[str, Any] = {
    "item": "/site/pki/hosts/inference.pem",
    "subject": {"commonName": "ai.home.arpa"},
    "not_after": "20270219120000Z",
}
LIST: dict[str, Any] = {"item": "/site/pki/issuing.crl", "next_update": "20270219120000Z"}


@pytest.mark.parametrize(
    ("life", "name"),
    [(CERTIFICATE, "certificate of ai.home.arpa"), (LIST, "list issuing.crl")],
    ids=["certificate", "list"],
)
@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ("2027-01-20T11:59", "passed"),
        ("2027-01-20T12:00", "waived"),
        ("2027-02-11T23:59", "waived"),
        ("2027-02-12T00:00", "failed"),
        ("2027-03-01T00:00", "failed"),
    ],
)
def test_a_life_is_green_amber_or_red(
    life: dict[str, Any], name: str, now: str, verdict: str
) -> None:
    moment = datetime.datetime.fromisoformat(now)
    (record,) = certificate_records([life], "PKI-03", 720, 180, moment)
    assert record["observed"] == "until 2027-02-19 12:00 UTC"
    assert name in record["probe"]
    judged = evidence.judge(
        holds=record["holds"],
        denial=False,
        positive_control=None,
        waiver=record.get("waiver"),
        today=moment.date(),
    )
    assert judged == verdict
