# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import nft_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

INTENT: dict[str, Any] = {
    "admin_networks": ["192.0.2.1/32"],
    "client_networks": ["192.0.2.0/24", "2001:db8::/64"],
    "ssh_port": 22,
    "gateway_port": 8443,
    "allow": [],
    "allow_inbound": [],
    "allow_containers": [],
    "apt_proxy": "",
    "displace": [],
}
PEER: dict[str, Any] = {"address": "192.0.2.9", "protocol": "tcp", "port": 443}


def intent(**changes: Any) -> dict[str, Any]:
    return {**INTENT, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"admin_networks": []}, "airlock_admin_networks: the rules would lock everybody out"),
        ({"admin_networks": ["192.0.2.1/24"]}, "egress_admin_networks[0]: this is not a network"),
        (
            {"client_networks": ["0.0.0.0/0"]},
            "egress_client_networks[0]: this network is the whole",
        ),
        ({"client_networks": ["::/0"]}, "egress_client_networks[0]: this network is the whole"),
        ({"client_networks": "192.0.2.0/24"}, "egress_client_networks: this is not a list"),
        ({"admin_networks": [3232235777]}, "egress_admin_networks[0]: this is not a network"),
        ({"gateway_port": 65536}, "egress_gateway_port: this is not a port"),
        ({"ssh_port": True}, "egress_ssh_port: this is not a port"),
        ({"allow": [{"address": "192.0.2.9", "protocol": "udp"}]}, "egress_allow[0]: the entry is"),
        ({"allow": ["192.0.2.9"]}, "egress_allow[0]: the entry is not complete"),
        (
            {"allow": [{"address": "ntp.lan", "protocol": "udp", "port": 123}]},
            "egress_allow[0].address: this is not a network",
        ),
        (
            {"allow": [{"address": "192.0.2.9", "protocol": "icmp", "port": 1}]},
            "egress_allow[0].protocol: the protocol is not known",
        ),
        (
            {"allow": [{"address": "192.0.2.9", "protocol": "tcp", "port": "80 accept"}]},
            "egress_allow[0].port: this is not a port",
        ),
        (
            {"allow_inbound": [{"protocol": "tcp", "port": 80, "from": []}]},
            "egress_allow_inbound[0].from: nobody is admitted",
        ),
        ({"allow": [{**PEER, "user": 0}]}, "egress_allow[0].user: this is not an account"),
        ({"allow": [{**PEER, "user": "a b"}]}, "egress_allow[0].user: this is not an account"),
        (
            {"allow": [{**PEER, "user": "airlock-r00"}]},
            "egress_allow[0].user: releases, gatekeeper",
        ),
        (
            {"allow": [{**PEER, "user": "airlock-edge"}]},
            "egress_allow[0].user: releases, gatekeeper",
        ),
        ({"allow": [{**PEER, "port": 53}]}, "egress_allow[0]: port 53 is for the resolver alone"),
        ({"allow": [{**PEER, "port": 6514}]}, "egress_allow[0]: port 6514 is for the log shipper"),
        (
            {"allow_containers": [{**PEER, "from": "172.17.0.1/16"}]},
            "egress_allow_containers[0].from: this is not a network: expected the name of a bridge",
        ),
        (
            {"allow_containers": [{**PEER, "from": 'br0" accept'}]},
            "egress_allow_containers[0].from: this is not a network",
        ),
        (
            {"allow_containers": [{**PEER, "from": "a-name-that-is-too-long"}]},
            "egress_allow_containers[0].from: this is not a network",
        ),
        (
            {"allow_containers": [{**PEER, "from": "2001:db8::/64"}]},
            "egress_allow_containers[0].address: the two ends are of different families",
        ),
        (
            {"allow_containers": [{**PEER, "from": "br0", "user": "root"}]},
            "egress_allow_containers[0]: the entry is not complete",
        ),
        ({"displace": ["docker0"]}, "egress_displace[0]: this names nothing that runs"),
        ({"displace": ['bridge:x" accept']}, "egress_displace[0]: this names nothing that runs"),
        ({"displace": "bridge:docker0"}, "egress_displace: this is not a list of names"),
        ({"apt_proxy": "http://proxy.lan:3142"}, "egress_apt_proxy: the package proxy"),
        ({"apt_proxy": "http://192.0.2.9"}, "egress_apt_proxy: the package proxy"),
        ({"apt_proxy": "http://192.0.2.9:0"}, "egress_apt_proxy: the package proxy"),
        ({"apt_proxy": "http://192.0.2.9:99999"}, "egress_apt_proxy: the package proxy"),
        ({"apt_proxy": "https://192.0.2.9:3142"}, "egress_apt_proxy: the package proxy"),
        ({"apt_proxy": "http://[::1:3142"}, "egress_apt_proxy: the package proxy"),
    ],
)
def test_bad_intent_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AirlockError) as refusal:
        nft_policy.build(intent(**changes))
    assert str(refusal.value).startswith(message)


def test_sets_hold_what_was_meant_and_merge_what_overlaps() -> None:
    policy = nft_policy.build(
        intent(
            allow=[{"address": "192.0.2.9", "protocol": "udp", "port": 123, "comment": "time"}],
            allow_inbound=[
                {"protocol": "tcp", "port": 8443, "from": ["192.0.2.128/25", "198.51.100.7"]},
                {"protocol": "udp", "port": 546, "from": ["fe80::/10"]},
            ],
        )
    )
    assert policy.sets({}) == {
        "admin4": ["192.0.2.1/32"],
        "known4": ["192.0.2.0/24", "198.51.100.7/32"],
        "inbound4": ["192.0.2.0/24 . tcp . 8443", "198.51.100.7/32 . tcp . 8443"],
        "outbound4": ["192.0.2.9/32 . udp . 123"],
        "answers4": ["192.0.2.9/32 . udp . 123"],
        "principal4": [],
        "admin6": [],
        "known6": ["2001:db8::/64", "fe80::/10"],
        "inbound6": ["2001:db8::/64 . tcp . 8443", "fe80::/10 . udp . 546"],
        "outbound6": [],
        "answers6": [],
        "principal6": [],
    }


def test_what_is_for_one_account_is_open_to_no_other() -> None:
    policy = nft_policy.build(
        intent(
            allow=[
                {**PEER, "protocol": "udp", "port": 53, "user": "systemd-resolve"},
                {**PEER, "port": 6514, "user": "0"},
            ]
        )
    )
    assert policy.accounts() == ["systemd-resolve"]
    sets = policy.sets({"systemd-resolve": 991})
    assert sets["outbound4"] == []
    assert sets["principal4"] == [
        "0 . 192.0.2.9/32 . tcp . 6514",
        "991 . 192.0.2.9/32 . udp . 53",
    ]
    assert sets["answers4"] == ["192.0.2.9/32 . tcp . 6514", "192.0.2.9/32 . udp . 53"]


def test_containers_are_apart_from_the_host() -> None:
    policy = nft_policy.build(
        intent(
            allow_containers=[
                {**PEER, "from": "br-apps"},
                {**PEER, "from": "br-apps", "address": "2001:db8::9"},
                {**PEER, "from": "172.17.0.2", "address": "192.0.2.0/24"},
                {**PEER, "from": "172.17.0.2"},
            ],
            displace=["bridge:docker0", "container:x"],
        )
    )
    assert policy.sets({})["outbound4"] == []
    assert policy.bridges() == ["br-apps", "docker0"]
    assert policy.passages_by_source() == [
        {
            "version": 4,
            "network": "",
            "bridge": "br-apps",
            "elements": ["192.0.2.9/32 . tcp . 443"],
        },
        {
            "version": 6,
            "network": "",
            "bridge": "br-apps",
            "elements": ["2001:db8::9/128 . tcp . 443"],
        },
        {
            "version": 4,
            "network": "172.17.0.2/32",
            "bridge": "",
            "elements": ["192.0.2.0/24 . tcp . 443"],
        },
    ]


def test_the_policy_answers_for_what_runs() -> None:
    policy = nft_policy.build(
        intent(allow=[{"address": "192.0.2.9", "protocol": "udp", "port": 67}])
    )
    client, admin = ipaddress.ip_address("192.0.2.77"), ipaddress.ip_address("192.0.2.1")
    assert policy.serves("tcp", 22)
    assert policy.serves("tcp", 8443)
    assert not policy.serves("udp", 8443)
    assert policy.admits("tcp", 22, admin)
    assert not policy.admits("tcp", 22, client)
    assert policy.admits("tcp", 8443, client)
    assert policy.sends("udp", 67)
    assert not policy.sends("tcp", 67)


def test_the_proxy_may_be_an_ipv6_address() -> None:
    found = nft_policy.proxy("http://[2001:db8::9]:3142/", "x")
    assert found == (ipaddress.ip_address("2001:db8::9"), 3142)


NETWORKS = st.lists(
    st.builds(
        lambda address, prefix: str(ipaddress.ip_network((address, prefix), strict=False)),
        st.integers(0, 2**32 - 1),
        st.integers(1, 32),
    ),
    min_size=1,
    max_size=6,
)


@given(networks=NETWORKS, more=NETWORKS, peer=st.integers(0, 2**32 - 1))
def test_elements_never_overlap_and_admit_the_same_peers(
    networks: list[str], more: list[str], peer: int
) -> None:
    """The kernel refuses a concatenated set with overlapping elements, and the host stays open."""
    policy = nft_policy.build(
        intent(
            client_networks=networks,
            allow_inbound=[{"protocol": "tcp", "port": 8443, "from": more}],
        )
    )
    elements = [
        ipaddress.IPv4Network(element.split(" . ")[0]) for element in policy.sets({})["inbound4"]
    ]
    assert not any(
        one.overlaps(other) for index, one in enumerate(elements) for other in elements[index + 1 :]
    )
    address = ipaddress.IPv4Address(peer)
    assert policy.admits("tcp", 8443, address) == any(address in element for element in elements)
