# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter.key_requests import FilterModule

REST = (
    {"alice": "aik_alice_x"},
    {"chat": {"model": "m"}, "embed": {"model": "m", "mode": "embedding"}},
    {"scope": "KEY-01", "length": "KEY-02", "credential": "KEY-03"},
)


def test_an_answer_is_asked_for_that_is_one_token_too_long() -> None:
    keys = {"alice": {"services": ["chat", "embed"], "max_tokens": 9}}
    request = FilterModule().filters()["key_requests"](keys, *REST)[-1]
    assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
    assert (request["body"]["model"], request["body"]["max_tokens"]) == ("chat", 10)


def test_a_scope_that_is_not_understood_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"airlock_api_keys\.alice"):
        FilterModule().filters()["key_requests"]({"alice": {}}, *REST)
