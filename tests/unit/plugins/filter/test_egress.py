# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of role egress and its probes, as the templates see them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter import (
    egress_admitted,
    egress_policy,
    probe_records,
    target_probes,
    towards,
)

INTENT: dict[str, Any] = {
    "admin_networks": ["192.0.2.1"],
    "client_networks": ["192.0.2.0/24"],
    "ssh_port": 22,
    "gateway_port": 8443,
    "allow": [],
    "allow_inbound": [],
    "allow_containers": [],
    "displace": [],
    "apt_proxy": "http://[2001:db8::9]:3142",
}

SURVEY: dict[str, Any] = {"uids": {}, "bridges": ["docker0"]}


@pytest.mark.parametrize(
    "module", [egress_admitted, egress_policy, probe_records, target_probes, towards]
)
def test_a_filter_is_named_like_its_file(module: Any) -> None:
    assert list(module.FilterModule().filters()) == [module.__name__.rpartition(".")[2]]


def test_a_policy_is_sets_and_the_proxy() -> None:
    policy = egress_policy.egress_policy(INTENT, SURVEY)
    assert policy["sets"]["inbound4"] == ["192.0.2.0/24 . tcp . 8443"]
    assert policy["bridges"] == ["docker0"]
    assert policy["apt_proxy"] == {"address": "2001:db8::9", "port": 3142, "version": 6}
    assert egress_policy.egress_policy({**INTENT, "apt_proxy": ""}, SURVEY)["apt_proxy"] is None


def test_a_bad_policy_says_where() -> None:
    with pytest.raises(AnsibleFilterError, match=r"egress_allow\[0\]: the entry is not complete"):
        egress_policy.egress_policy({**INTENT, "allow": [{}]}, SURVEY)


def test_only_admitted_peers_are_picked() -> None:
    peers = ["192.0.2.1", "192.0.2.77", "2001:db8::1"]
    assert egress_admitted.egress_admitted(peers, INTENT, "tcp", 22) == ["192.0.2.1"]
    assert egress_admitted.egress_admitted(peers, INTENT, "tcp", 8443) == peers[:2]


def test_probes_get_every_address() -> None:
    probe = {"id": "ssh", "kind": "tcp", "port": 22, "expect": "refused"}
    assert towards.towards([probe], ["192.0.2.9", "2001:db8::9"]) == [
        {**probe, "id": "ssh/192.0.2.9", "address": "192.0.2.9"},
        {**probe, "id": "ssh/2001:db8::9", "address": "2001:db8::9"},
    ]


def test_targets_without_users_are_tried_as_whoever_runs_the_module() -> None:
    (probe,) = target_probes.target_probes([{"name": "wan", "address4": "192.0.2.9"}])
    assert (probe["user"], probe["kind"], probe["expect"]) == ("", "icmp", "refused")
