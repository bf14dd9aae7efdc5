# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import key_scopes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.key_scopes import Hours, Scope

SAID = {
    "services": ["embed", "chat", "chat"],
    "routes": ["/v1/chat/completions"],
    "max_tokens": 100,
    "hours": "08:00-18:00 Europe/Zurich",
    "networks": ["192.168.20.0/24", "fd00::/64"],
    "certificate": "ab" * 32,
    "on_behalf": True,
    "guardrail": "Answer briefly.",
    "expires_days": 7,
}


def test_what_the_owner_wrote_is_what_the_record_says() -> None:
    scope, days = key_scopes.wanted(SAID, "airlock_api_keys.alice")
    assert days == 7
    said = {**SAID, "services": ["chat", "embed"]}
    del said["expires_days"]
    assert scope.as_dict() == said
    assert Scope.parse(scope.as_dict(), "again") == scope


def test_a_key_lives_30_days_and_may_do_what_its_services_can() -> None:
    scope, days = key_scopes.wanted({"services": ["chat"]}, "x")
    assert (scope, days) == (Scope(("chat",)), 30)
    assert scope.as_dict() == {"services": ["chat"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_token": 5}, "the key 'max_token' is unknown: expected 'max_tokens'"),
        ({"network": ["10.0.0.0/8"]}, "expected 'networks'"),
        ({"services": []}, "alice.services: expected a list of the services"),
        ({"services": "chat"}, "alice.services: expected a list of the services"),
        ({"services": ["a b"]}, "alice.services: the value does not fit"),
        ({"routes": ["v1/models"]}, "alice.routes: the value does not fit"),
        ({"routes": "/v1/models"}, "alice.routes: expected a list"),
        ({"max_tokens": 0}, "alice.max_tokens: the number does not fit"),
        ({"requests_per_minute": True}, "requests_per_minute: the number does not fit"),
        ({"tokens_per_minute": -5}, "tokens_per_minute: the number does not fit"),
        ({"concurrency": 1.5}, "concurrency: the number does not fit"),
        ({"hours": "8-18"}, "not hours of the day"),
        ({"hours": "08:00-08:00 UTC"}, "not hours of the day"),
        ({"hours": "08:00-24:30 UTC"}, "not hours of the day"),
        ({"hours": "08:00-18:00"}, "not hours of the day"),
        ({"hours": "08:00-18:00 Europe/Zürich"}, "not hours of the day"),
        ({"hours": "08:00-18:00 Europe/Atlantis"}, "the time zone is unknown"),
        ({"hours": "08:00-18:00 ../../etc/passwd"}, "not hours of the day"),
        ({"networks": ["10.0.0.1/8"]}, "has host bits set"),
        ({"networks": [167772160]}, "a network is text"),
        ({"networks": "10.0.0.0/8"}, "expected a list of networks"),
        ({"certificate": "AB" * 32}, "alice.certificate: the value does not fit"),
        ({"certificate": "ab" * 31}, "alice.certificate: the value does not fit"),
        ({"certificate": "Alice"}, "alice.certificate: the value does not fit"),
        ({"on_behalf": "yes"}, "expected true or false"),
        ({"guardrail": " "}, "not a guardrail"),
        ({"guardrail": "x" * 9000}, "not a guardrail"),
        ({"expires_days": 367}, "expires_days: the number does not fit: expected 1 to 366"),
        ({"expires_days": None, "services": None}, "expected a list of the services"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_sentence(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        key_scopes.wanted({**SAID, **change}, "airlock_api_keys.alice")


def test_a_certificate_is_named_by_its_client_or_its_digest() -> None:
    for certificate in ("ab" * 32, "alice", "agent-2"):
        scope, _days = key_scopes.wanted({"services": ["chat"], "certificate": certificate}, "x")
        assert scope.certificate == certificate


def test_a_key_in_the_place_of_its_scope_is_not_repeated() -> None:
    with pytest.raises(AirlockError) as caught:
        key_scopes.wanted("aik_alice_secret", "airlock_api_keys.alice")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("hours", "moment", "inside"),
    [
        ("08:00-18:00 UTC", "07:59", False),
        ("08:00-18:00 UTC", "08:00", True),
        ("08:00-18:00 UTC", "17:59", True),
        ("08:00-18:00 UTC", "18:00", False),
        ("08:00-18:00 Europe/Zurich", "07:30", True),
        ("08:00-18:00 Europe/Zurich", "17:30", False),
        ("22:00-06:00 UTC", "23:00", True),
        ("22:00-06:00 UTC", "05:59", True),
        ("22:00-06:00 UTC", "06:00", False),
        ("18:00-24:00 UTC", "23:59", True),
        ("18:00-24:00 UTC", "00:00", False),
    ],
)
def test_hours_are_those_of_their_zone(hours: str, moment: str, inside: bool) -> None:
    parsed = Hours.parse(hours, "x")
    assert str(parsed) == hours
    when = datetime.fromisoformat(f"2026-11-21T{moment}:00").replace(tzinfo=timezone.utc)
    assert parsed.contain(when) is inside
