# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter.key_untried import FilterModule


def test_what_is_not_tried_becomes_a_record() -> None:
    keys = {
        "alice": {"services": ["chat"], "networks": ["10.0.0.0/8"]},
        "bob": {"services": ["chat"]},
    }
    (record,) = FilterModule().filters()["key_untried"](keys, "KEY-01")
    assert (record["control"], record["denial"]) == ("KEY-01", True)
    assert "alice" in record["probe"]


def test_a_scope_that_is_none_is_refused_in_a_sentence() -> None:
    with pytest.raises(AnsibleFilterError, match=r"airlock_api_keys\.alice"):
        FilterModule().filters()["key_untried"]({"alice": {}}, "KEY-01")
