# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import exposure

LEVELS = ("local", "internal", "network", "high")
GOOD = {
    ("local", "key"), ("local", "tls"), ("local", "mtls"),
    ("internal", "tls"), ("internal", "mtls"),
    ("network", "tls"), ("network", "mtls"),
    ("high", "mtls"),
}  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("authentication", ["key", "tls", "mtls"])
def test_a_level_takes_what_it_asks_for_or_more(level: str, authentication: str) -> None:
    found = exposure.check(level, authentication, ["192.168.1.0/24"], {"alice": {}})
    assert (not found) == ((level, authentication) in GOOD)
    assert len(found) <= 1


def test_a_network_that_others_reach_needs_the_level_network() -> None:
    assert exposure.check("internal", "tls", ["100.64.0.0/10"], {})
    assert exposure.check("internal", "tls", ["fd00::/64", "10.0.0.0/8"], {}) == []
    assert exposure.check("network", "tls", ["8.8.8.0/24"], {}) == []


def test_a_certificate_outlives_two_visits() -> None:
    assert exposure.check_life(90, 45) == []
    assert exposure.check_life(90, 46)
    assert exposure.check_life(7, 1) == []
    assert exposure.check_life(1, 1)
    assert exposure.check_life(90, 0)


def test_a_client_has_a_request_of_its_own_or_nothing() -> None:
    assert exposure.check("network", "tls", [], {"a": {}, "b": None, "c": {"csr": "b.csr"}}) == []
