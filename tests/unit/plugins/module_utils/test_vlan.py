# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import vlan

TODAY = datetime.date(2026, 11, 21)

TRUNK: dict[str, Any] = {
    "mode": "trunk",
    "id": 30,
    "parent": "eth0",
    "interface": "ai30",
    "addresses": ["192.168.30.10/24", "fd00:30::10/64"],
    "gateways": ["192.168.30.1"],
    "waiver": {},
}
ACCESS = {**TRUNK, "mode": "access", "parent": "eth1", "interface": "eth1"}
NONE = {
    **TRUNK,
    "mode": "none",
    "waiver": {"reason": "no switch", "until": datetime.date(2027, 3, 31)},
}


def link(name: str, *addresses: str, **facts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "",
        "parent": "",
        "id": 0,
        "up": True,
        "wifi": False,
        "addresses": list(addresses),
        "gateways": [],
        "settings": {
            "accept_ra": 0,
            "arp_announce": 2,
            "arp_ignore": 1,
            "forwarding4": 0,
            "forwarding6": 0,
            "rp_filter": 1,
        },
        **facts,
    }


def seen(*links: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {
        "interfaces": list(links) or [link("eth0", "192.168.1.10/24"), link("eth1")],
        "active": ["networkd"],
        "claims": {
            "netplan": {},
            "networkd": {"eth0": "/etc/systemd/network/10-eth0.network"},
            "NetworkManager": {},
            "ifupdown": {},
        },
        "interfaces_d": False,
        "cloud_init": False,
        "former": None,
        "forward_policy": "",
        **facts,
    }


@pytest.mark.parametrize(
    "intent",
    [
        TRUNK,
        ACCESS,
        NONE,
        {**TRUNK, "id": "4094", "gateways": []},
        {**TRUNK, "interface": "a" * 15},
        {**TRUNK, "addresses": ["192.168.30.10/24", "192.168.30.11/24"]},
        {**TRUNK, "addresses": ["192.168.30.10/31"], "gateways": ["192.168.30.11"]},
        {**NONE, "waiver": {"reason": "no switch", "until": "2026-01-01"}},
    ],
)
def test_what_is_possible_passes(intent: dict[str, Any]) -> None:
    assert vlan.check(intent, TODAY) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mode": "vlan"}, "vlan_mode: expected trunk, access or none, found 'vlan'."),
        ({"parent": ""}, "vlan_parent: expected the interface that leads to the switch"),
        ({"id": 0}, "vlan_id: expected a number from 1 to 4094, found 0;"),
        ({"id": 4095}, "vlan_id: expected a number from 1 to 4094, found 4095;"),
        ({"id": True}, "vlan_id: expected a number from 1 to 4094, found True;"),
        ({"id": "-3"}, "vlan_id: expected a number from 1 to 4094, found '-3';"),
        ({"interface": "a" * 16}, "vlan_interface: expected at most 15 characters, found 16 in"),
        ({"interface": "ai/30"}, "vlan_interface: expected the name of an interface"),
        ({"interface": "ai 30"}, "vlan_interface: expected the name of an interface"),
        ({"interface": "ai30\n"}, "vlan_interface: expected the name of an interface"),
        ({"interface": "$(reboot)"}, "vlan_interface: expected the name of an interface"),
        ({"interface": ".."}, "vlan_interface: expected the name of an interface"),
        ({"interface": "all"}, "vlan_interface: expected the name of an interface"),
        ({"parent": "lo"}, "vlan_parent: expected the name of an interface"),
        ({"interface": "eth0"}, "vlan_interface: expected another name than vlan_parent, eth0"),
        ({"mode": "access"}, "vlan_interface: expected eth0, because with vlan_mode: access"),
        ({"addresses": []}, "vlan_addresses is empty"),
        ({"addresses": "192.168.30.10/24"}, "vlan_addresses: expected a list"),
        ({"gateways": "192.168.30.1"}, "vlan_gateways: expected a list"),
        (
            {"addresses": ["192.168.30.10"]},
            "vlan_addresses[0]: expected an address with the length",
        ),
        ({"addresses": ["192.168.30.300/24"]}, "vlan_addresses[0]: expected an address with the"),
        ({"addresses": ["192.168.30.10/33"]}, "vlan_addresses[0]: expected an address with the"),
        ({"addresses": ["192.168.30.0/24"]}, "192.168.30.0, which is that of the network"),
        ({"addresses": ["192.168.30.255/24"]}, "192.168.30.255, which is the broadcast address"),
        ({"addresses": ["fd00:30::/64"]}, "fd00:30::, which is that of the network"),
        ({"addresses": ["fe80::1/64"]}, "fe80::1, which is of no such kind"),
        ({"addresses": ["127.0.0.2/8"]}, "127.0.0.2, which is of no such kind"),
        ({"addresses": ["224.0.0.9/4"]}, "224.0.0.9, which is of no such kind"),
        (
            {"addresses": ["192.168.30.10/24", "192.168.30.10/24"]},
            "vlan_addresses[1]: 192.168.30.10 is there twice",
        ),
        (
            {"addresses": ["192.168.30.10/24", "192.168.30.20/16"]},
            "vlan_addresses[1]: 192.168.30.20/16 overlaps 192.168.30.10/24",
        ),
        ({"gateways": ["192.168.31.1"]}, "vlan_gateways[0]: expected an address inside 192.168.30"),
        ({"gateways": ["192.168.30.10"]}, "which is this host's own"),
        ({"gateways": ["192.168.30.255"]}, "which is the broadcast address"),
        ({"gateways": ["router"]}, "vlan_gateways[0]: expected an IP address, found router"),
        (
            {"gateways": ["192.168.30.1", "192.168.30.2"]},
            "vlan_gateways[1]: expected one gateway for IPv4",
        ),
    ],
)
def test_what_is_not_is_one_sentence_with_its_place(change: dict[str, Any], sentence: str) -> None:
    findings = vlan.check({**TRUNK, **change}, TODAY)
    assert any(sentence in finding for finding in findings), findings
    assert all(finding.endswith(".") for finding in findings)


@pytest.mark.parametrize(
    ("waiver", "sentence"),
    [
        ({}, "vlan_waiver: expected reason and until"),
        ({"reason": "no switch"}, "vlan_waiver: expected reason and until"),
        ({"reason": " ", "until": "2026-12-01"}, "vlan_waiver.reason is empty"),
        ({"reason": "no switch", "until": "soon"}, "vlan_waiver.until: expected a day"),
        ({"reason": "no switch", "until": "2027-11-23"}, "within 366 days of today"),
    ],
)
def test_a_flat_network_needs_a_waiver_that_ends(waiver: dict[str, str], sentence: str) -> None:
    findings = vlan.check({**NONE, "waiver": waiver}, TODAY)
    assert any(sentence in finding for finding in findings), findings


@pytest.mark.parametrize(
    ("intent", "host", "sentence"),
    [
        ({**TRUNK, "parent": "eth9"}, seen(), "has eth0, eth1, found eth9; correct the name"),
        (TRUNK, seen(link("eth0", wifi=True)), "eth0 is Wi-Fi, which carries no VLAN tags"),
        (TRUNK, seen(link("eth0"), link("ai30")), "there is an interface ai30 on the host already"),
        (
            TRUNK,
            seen(link("eth0", "192.168.0.9/16")),
            "vlan_addresses[0]: 192.168.30.10/24 overlaps 192.168.0.9/16 of eth0",
        ),
        (
            TRUNK,
            seen(link("eth0"), link("br0", "fd00:30::1/64")),
            "vlan_addresses[1]: fd00:30::10/64 overlaps fd00:30::1/64 of br0",
        ),
    ],
)
def test_what_a_host_cannot_have(intent: Any, host: dict[str, Any], sentence: str) -> None:
    findings = vlan.check_host(vlan.Network.of(intent), host)
    assert len(findings) == 1
    assert sentence in findings[0]


def test_what_is_ours_is_in_nobodys_way() -> None:
    former = {"interface": "ai30", "mode": "trunk", "owner": "networkd", "parent": "eth0"}
    host = seen(link("eth0"), link("ai30", "192.168.30.10/24"), former=former)
    assert vlan.check_host(vlan.Network.of(TRUNK), host) == []
    assert vlan.check_host(vlan.Network.of({**TRUNK, "interface": "ai31"}), host) == []
