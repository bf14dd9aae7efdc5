# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import configparser
import json
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.airlock.plugins.module_utils import vlan_plan
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.vlan import Network
from ansible_collections.homelab.airlock.plugins.module_utils.vlan_owner import owner

from .test_vlan import ACCESS, TRUNK, link, seen

trunk = Network.of({**TRUNK, "gateways": ["192.168.30.1", "fd00:30::1"]})
access = Network.of({**ACCESS, "gateways": []})


def claims(**links: dict[str, str]) -> dict[str, dict[str, str]]:
    return {"netplan": {}, "networkd": {}, "NetworkManager": {}, "ifupdown": {}, **links}


NOBODY = claims()
NETPLAN = seen(active=["netplan", "networkd"], claims=claims(netplan={"eth0": "uplink"}))
NM = seen(active=["NetworkManager"], claims=claims(NetworkManager={"eth0": "/etc/x"}))
IFUPDOWN = seen(
    active=["ifupdown"],
    claims=claims(ifupdown={"eth0": "/etc/network/interfaces"}),
    interfaces_d=True,
)


def contents(plan: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["content"] for file in plan["files"]}


def modes(plan: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["mode"] for file in plan["files"]}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (seen(), "networkd"),
        (NETPLAN, "netplan"),
        (NM, "NetworkManager"),
        (IFUPDOWN, "ifupdown"),
        (seen(claims=claims(NetworkManager={"eth1": "/etc/x"})), "NetworkManager"),
        (seen(claims=NOBODY), "networkd"),
        (seen(claims=NOBODY, active=["netplan", "networkd"]), "netplan"),
    ],
)
def test_one_of_four_gets_the_files(host: dict[str, Any], name: str) -> None:
    assert owner(trunk, host) == name


@pytest.mark.parametrize(
    ("network", "host", "sentence"),
    [
        (
            trunk,
            seen(claims=claims(networkd={"eth0": "/a.network"}, ifupdown={"eth0": "/b"})),
            "vlan_parent: eth0 has two owners: expected one program that manages it, found networkd (/a.network) and "
            "ifupdown (/b);",
        ),
        (trunk, seen(claims=NOBODY, active=[]), "found none of them running"),
        (
            trunk,
            seen(claims=NOBODY, active=["networkd", "NetworkManager"]),
            "found networkd and NetworkManager",
        ),
        (trunk, {**IFUPDOWN, "interfaces_d": False}, "expected the line 'source /etc/network/int"),
        (
            access,
            {**IFUPDOWN, "claims": claims(ifupdown={"eth1": "/etc/network/interfaces"})},
            "eth1 would get the addresses of both files",
        ),
        (
            access,
            {**NM, "interfaces": [link("eth0"), link("eth1", kind="bridge")]},
            "eth1 is a bridge",
        ),
        (
            access,
            seen(link("eth0"), link("eth1", "192.168.9.9/24")),
            "eth1 has addresses that no file of a network manager explains",
        ),
    ],
)
def test_what_no_manager_can_do_is_refused(
    network: Network, host: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AirlockError) as refusal:
        owner(network, host)
    assert sentence in str(refusal.value)


def test_networkd() -> None:
    plan = vlan_plan.plan(trunk, seen())
    files = contents(plan)
    assert "Kind=vlan\n\n[VLAN]\nId=30\n" in files["/etc/systemd/network/05-airlock-ai30.netdev"]
    network = files["/etc/systemd/network/05-airlock-ai30.network"]
    for line in (
        "Name=ai30",
        "RequiredForOnline=no",
        "IPv6AcceptRA=no",
        "LinkLocalAddressing=ipv6",
        "Address=192.168.30.10/24",
        "Gateway=fd00:30::1",
    ):
        assert f"\n{line}\n" in network
    dropin = "/etc/systemd/network/10-eth0.network.d"
    assert files[f"{dropin}/60-airlock.conf"].endswith("[Network]\nVLAN=ai30\n")
    assert plan["directories"] == [{"path": "/etc/airlock"}, {"path": dropin}]


def test_a_parent_that_nobody_configures_gets_a_file_that_stays() -> None:
    network = Network.of({**TRUNK, "parent": "eth1"})
    own = "/etc/systemd/network/90-airlock-eth1.network"
    first = vlan_plan.plan(network, seen())
    host = seen(
        former={"interface": "ai30", "mode": "trunk", "owner": "networkd", "parent": "eth1"},
        claims=claims(networkd={"eth0": "/a.network", "eth1": own}),
    )
    assert "VLAN=ai30" in contents(first)[own]
    assert vlan_plan.plan(network, host)["files"] == first["files"]


def test_netplan() -> None:
    plan = vlan_plan.plan(trunk, NETPLAN)
    document = yaml.safe_load(contents(plan)["/etc/netplan/90-airlock.yaml"])["network"]
    assert modes(plan)["/etc/netplan/90-airlock.yaml"] == "0600"
    assert document["ethernets"] == {"uplink": {}}
    assert document["vlans"]["ai30"] == {
        "id": 30,
        "link": "uplink",
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "link-local": ["ipv6"],
        "optional": True,
        "addresses": ["192.168.30.10/24", "fd00:30::10/64"],
        "routes": [
            {"to": "0.0.0.0/0", "via": "192.168.30.1"},
            {"to": "::/0", "via": "fd00:30::1"},
        ],
    }
    assert plan["revert_boot"] == [["netplan", "generate"]]


def test_netplan_leaves_what_kind_a_parent_is_to_others() -> None:
    host = {**NETPLAN, "interfaces": [link("eth0", kind="bond")]}
    (text,) = (
        text for path, text in contents(vlan_plan.plan(trunk, host)).items() if "netplan" in path
    )
    assert "ethernets" not in yaml.safe_load(text)["network"]


def test_network_manager() -> None:
    plan = vlan_plan.plan(trunk, NM)
    path = "/etc/NetworkManager/system-connections/airlock-ai30.nmconnection"
    profile = configparser.ConfigParser()
    profile.read_string(contents(plan)[path])
    assert modes(plan)[path] == "0600"
    assert dict(profile["vlan"]) == {"id": "30", "parent": "eth0"}
    assert dict(profile["ipv4"]) == {
        "method": "manual",
        "address1": "192.168.30.10/24",
        "gateway": "192.168.30.1",
    }
    only4 = Network.of({**ACCESS, "addresses": ["192.168.30.10/24"], "gateways": []})
    profile.clear()
    profile.read_string(
        contents(vlan_plan.plan(only4, NM))[path.replace("airlock-ai30", "airlock-eth1")]
    )
    assert profile["connection"]["type"] == "ethernet"
    assert profile["ipv4"]["never-default"] == "true"
    assert dict(profile["ipv6"]) == {"method": "disabled"}


def test_ifupdown() -> None:
    text = contents(vlan_plan.plan(trunk, IFUPDOWN))["/etc/network/interfaces.d/airlock"]
    assert text.count("ip link add link eth0 name ai30 type vlan id 30") == 1
    assert "iface ai30 inet static\n    address 192.168.30.10/24" in text
    assert "iface ai30 inet6 static\n    address fd00:30::10/64\n    gateway fd00:30::1" in text


def test_what_all_get() -> None:
    plan = vlan_plan.plan(trunk, seen(cloud_init=True))
    files = contents(plan)
    assert json.loads(files["/etc/airlock/vlan.json"]) == {
        "interface": "ai30",
        "mode": "trunk",
        "owner": "networkd",
        "parent": "eth0",
    }
    assert "-net/ipv6/conf/ai30/accept_ra = 0\n" in files["/etc/sysctl.d/90-airlock-vlan.conf"]
    path = "/etc/cloud/cloud.cfg.d/99-airlock-network.cfg"
    assert yaml.safe_load(files[path]) == {"network": {"config": "disabled"}}
    assert path not in contents(vlan_plan.plan(trunk, seen()))


def test_the_way_back_is_the_way_there_backwards() -> None:
    gone = ["sh", "-c", "test ! -e /sys/class/net/ai30 || ip link delete dev ai30"]
    restart = ["systemctl", "restart", "systemd-networkd.service"]
    first = vlan_plan.plan(trunk, seen())
    assert first["revert"] == [gone, restart]
    former = {"interface": "ai30", "mode": "trunk", "owner": "networkd", "parent": "eth0"}
    removal = vlan_plan.plan(None, seen(former=former))
    assert removal["files"] == []
    assert removal["apply"] == [gone, restart]
    assert removal["revert"][0] == restart
    assert vlan_plan.plan(None, seen())["apply"] == []


@pytest.mark.parametrize("host", [seen(), NETPLAN, NM, IFUPDOWN])
def test_a_port_loses_its_addresses_before_it_gets_others(host: dict[str, Any]) -> None:
    plan = vlan_plan.plan(access, host)
    assert plan["apply"][0][-1].endswith("ip address flush dev eth1 scope global")
    assert plan["revert"][0] == plan["apply"][0]


def test_what_is_missing_is_a_reason_to_apply() -> None:
    good = link(
        "ai30",
        "192.168.30.10/24",
        "fd00:30::10/64",
        kind="vlan",
        parent="eth0",
        id=30,
        gateways=["192.168.30.1", "fd00:30::1"],
    )
    former = {"interface": "ai30", "mode": "trunk", "owner": "networkd", "parent": "eth0"}
    assert vlan_plan.plan(trunk, seen(link("eth0"), good, former=former))["because"] == []
    for change, phrase in [
        ({"up": False}, "ai30 is down"),
        ({"id": 31}, "ai30 is VLAN 31 of eth0"),
        ({"kind": "bridge", "parent": ""}, "ai30 is no VLAN"),
        ({"addresses": ["192.168.30.10/24"]}, "ai30 lacks fd00:30::10/64"),
    ]:
        assert vlan_plan.missing(trunk, seen(link("eth0"), {**good, **change})) == [phrase]
    assert vlan_plan.missing(trunk, seen()) == ["ai30 is missing"]


@pytest.mark.parametrize(
    ("change", "kind", "phrase"),
    [
        ({"addresses": ["192.168.30.77/24"]}, "addresses", "ai30 also has 192.168.30.77/24"),
        ({"gateways": ["192.168.30.9"]}, "routes", "ai30 has default routes by 192.168.30.9"),
        ({"gateways": []}, "routes", "ai30 has default routes by nobody"),
    ],
)
def test_what_is_there_beyond(change: dict[str, Any], kind: str, phrase: str) -> None:
    good = link("ai30", gateways=["192.168.30.1", "fd00:30::1"])
    assert not any(vlan_plan.excess(trunk, seen(link("eth0"), good)).values())
    assert vlan_plan.excess(trunk, seen(link("eth0"), {**good, **change}))[kind] == [phrase]


def test_settings_and_forwarding() -> None:
    loose = link("ai30", gateways=["192.168.30.1", "fd00:30::1"])
    loose["settings"] |= {"accept_ra": 1, "rp_filter": 2, "forwarding4": 1}
    found = vlan_plan.excess(trunk, seen(link("eth0"), loose))
    assert found["settings"] == ["accept_ra of ai30 is 1", "rp_filter of ai30 is 2"]
    assert found["forwarding"] == ["the kernel forwards what comes in over ai30"]
    ruled = seen(link("eth0"), loose, forward_policy="drop")
    assert vlan_plan.excess(trunk, ruled)["forwarding"] == []
    assert vlan_plan.excess(trunk, seen())["routes"] == ["ai30 is missing"]
