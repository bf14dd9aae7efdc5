# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import vlan_survey
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

LINKS = [
    {"ifname": "lo", "flags": ["UP"], "addr_info": []},
    {
        "ifname": "eth0",
        "flags": ["UP"],
        "linkinfo": {"info_kind": "veth"},
        "addr_info": [
            {"local": "192.168.1.10", "prefixlen": 24, "scope": "global"},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
    {
        "ifname": "ai30",
        "link": "eth0",
        "flags": [],
        "linkinfo": {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": 30}},
        "addr_info": [],
    },
]
ROUTES = [{"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"}]


class Host:
    """Answers to commands, each by the words that it begins with; all others fail."""

    def __init__(self, **answers: str) -> None:
        self.answers = {
            "ip -d -j address show": json.dumps(LINKS),
            "ip -4 -j route": json.dumps(ROUTES),
            **answers,
        }

    def __call__(self, command: list[str]) -> tuple[int, str]:
        line = " ".join(command)
        for words, answer in self.answers.items():
            if line.startswith(words):
                return 0, answer
        return 1, ""


def write(root: Path, path: str, text: str = "") -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_links_as_the_kernel_has_them(tmp_path: Path) -> None:
    write(tmp_path, "/proc/sys/net/ipv4/conf/all/rp_filter", "2\n")
    write(tmp_path, "/proc/sys/net/ipv4/conf/ai30/rp_filter", "1\n")
    write(tmp_path, "/proc/sys/net/ipv6/conf/ai30/accept_ra", "0\n")
    write(tmp_path, "/proc/sys/net/ipv4/conf/ai30/forwarding", "1\n")
    write(tmp_path, "/sys/class/net/eth0/wireless/x")
    seen = vlan_survey.survey(Host(), str(tmp_path))
    eth0, ai30 = seen["interfaces"]
    assert (eth0["kind"], eth0["addresses"], eth0["gateways"]) == (
        "",
        ["192.168.1.10/24"],
        ["192.168.1.1"],
    )
    assert eth0["up"] and eth0["wifi"]
    assert (ai30["kind"], ai30["parent"], ai30["id"], ai30["up"]) == ("vlan", "eth0", 30, False)
    assert ai30["settings"]["rp_filter"] == 2  # that of "all", which is greater
    assert ai30["settings"]["forwarding4"] == 1
    assert (seen["active"], seen["former"], seen["forward_policy"]) == ([], None, "")


def test_networkd_and_netplan_before_it(tmp_path: Path) -> None:
    status = "networkctl status --no-pager --lines=0"
    host = Host(
        **{
            "systemctl is-active --quiet systemd-networkd": "",
            f"{status} eth0": "x\n   Network File: /run/systemd/network/10-netplan-up.network\n",
            f"{status} ai30": "   Network File: /etc/systemd/network/a.network\n    └─/b\n",
        }
    )
    write(tmp_path, "/usr/sbin/netplan")
    write(tmp_path, "/etc/netplan/01.yaml")
    seen = vlan_survey.survey(host, str(tmp_path))
    assert seen["active"] == ["netplan", "networkd"]
    assert seen["claims"]["netplan"] == {"eth0": "up"}
    assert seen["claims"]["networkd"] == {"ai30": "/etc/systemd/network/a.network"}


def test_network_manager_has_not_what_others_made(tmp_path: Path) -> None:
    host = Host(
        **{
            "systemctl is-active --quiet NetworkManager": "",
            "env LC_ALL=C nmcli -t -f DEVICE,STATE": "eth0:connected\nai30:connected (externally)\n",
            "env LC_ALL=C nmcli -t -f DEVICE,FILENAME": "eth0:/etc/a\\:b.nmconnection\nai30:/run/x\n",
        }
    )
    seen = vlan_survey.survey(host, str(tmp_path))
    assert seen["claims"]["NetworkManager"] == {"eth0": "/etc/a:b.nmconnection"}


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        ("source /etc/network/interfaces.d/*", True),
        ("source interfaces.d/*", True),
        ("source-directory interfaces.d", True),
        ("source interfaces.d/*.cfg", False),
        ("# source interfaces.d/*", False),
    ],
)
def test_ifupdown(tmp_path: Path, line: str, reads: bool) -> None:
    write(tmp_path, "/usr/sbin/ifup")
    main = f"auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n{line}\n"
    write(tmp_path, "/etc/network/interfaces", main)
    write(tmp_path, "/etc/network/interfaces.d/other", "iface eth1 inet manual\n")
    seen = vlan_survey.survey(Host(), str(tmp_path))
    assert seen["interfaces_d"] is reads
    assert seen["claims"]["ifupdown"] == {
        "eth0": "/etc/network/interfaces",
        **({"eth1": "/etc/network/interfaces.d/other"} if reads else {}),
    }


def test_what_is_ours_and_what_the_rules_do(tmp_path: Path) -> None:
    made = {"interface": "ai30", "mode": "trunk", "owner": "networkd", "parent": "eth0"}
    write(tmp_path, vlan_survey.STATE, json.dumps(made))
    write(tmp_path, "/etc/cloud/cloud.cfg.d/x")
    chain = {"nftables": [{"metainfo": {}}, {"chain": {"policy": "drop"}}]}
    seen = vlan_survey.survey(Host(**{"nft -j list chain": json.dumps(chain)}), str(tmp_path))
    assert (seen["former"], seen["cloud_init"], seen["forward_policy"]) == (made, True, "drop")


def test_a_host_that_does_not_say_is_no_host_without_links(tmp_path: Path) -> None:
    with pytest.raises(AirlockError, match="cannot be listed"):
        vlan_survey.survey(lambda _command: (1, "ip: not found"), str(tmp_path))
