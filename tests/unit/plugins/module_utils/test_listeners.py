# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import links, listeners, nft_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.links import Link
from ansible_collections.homelab.airlock.plugins.module_utils.listeners import Facts, Flow

ADMIN, CLIENT, STRANGER = "192.0.2.1", "192.0.2.77", "198.51.100.7"


def policy(**changes: Any) -> nft_policy.Policy:
    return nft_policy.build(
        {
            "admin_networks": [ADMIN],
            "client_networks": ["192.0.2.0/24"],
            "ssh_port": 22,
            "gateway_port": 8443,
            "allow": [],
            "allow_inbound": [],
            "allow_containers": [],
            "apt_proxy": "",
            "displace": [],
            **changes,
        }
    )


def listener(protocol: str, port: int, **changes: Any) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "port": port,
        "address": "0.0.0.0",  # noqa: S104 - what is found, not what is bound
        "reach": "everywhere",
        "process": "jellyfin",
        "unit": "jellyfin.service",
        **changes,
    }


def link(name: str, kind: str = "", **changes: Any) -> Link:
    values = {"up": True, "bridge": "", "addresses": (), "leased": "", **changes}
    return Link(name=name, kind=kind, **values)


def flow(port: int, peer: str) -> Flow:
    return Flow(ipaddress.ip_address("192.0.2.10"), port, ipaddress.ip_address(peer))


def container(running: bool | None) -> dict[str, Any]:
    return {"engine": "docker", "name": "media", "running": running, "ports": ["0.0.0.0:8096/tcp"]}


def cut(*, rules: nft_policy.Policy | None = None, **found: Any) -> list[str]:
    facts = Facts(**{"listeners": [], "containers": [], "flows": [], "links": [], **found})
    return [cut.name for cut in listeners.cuts(rules or policy(), facts)]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (listener("tcp", 8096), ["listener:tcp/8096"]),
        (listener("udp", 5353, process="", unit=""), ["listener:udp/5353"]),
        (listener("udp", 22), ["listener:udp/22"]),
        (listener("tcp", 22), []),
        (listener("tcp", 8443), []),
        (listener("tcp", 9443, unit="airlock-edge.service"), []),
        (listener("tcp", 631, reach="itself"), []),
        (listener("udp", 68), []),
    ],
)
def test_listeners_that_nobody_may_reach_are_cut(found: dict[str, Any], names: list[str]) -> None:
    assert cut(listeners=[found]) == names


def test_one_service_is_one_sentence_that_names_everything() -> None:
    facts = Facts([listener("tcp", 8096), listener("tcp", 8096, address="::")], [], [], [])
    (found,) = listeners.cuts(policy(), facts)
    assert found.sentence == (
        "jellyfin (jellyfin.service) listens on tcp port 8096 (0.0.0.0, ::) and the rules would cut "
        "it; add {protocol: tcp, port: 8096, from: [NETWORK]} to egress_allow_inbound to keep it, or "
        "listener:tcp/8096 to egress_displace to give it up."
    )


def test_an_allowed_listener_is_kept() -> None:
    rules = policy(allow_inbound=[{"protocol": "tcp", "port": 8096, "from": ["192.0.2.0/24"]}])
    assert cut(rules=rules, listeners=[listener("tcp", 8096)]) == []


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (flow(22, ADMIN), []),
        (flow(22, CLIENT), [f"flow:tcp/22/{CLIENT}"]),
        (flow(8443, STRANGER), [f"flow:tcp/8443/{STRANGER}"]),
        (flow(8443, "192.0.2.10"), []),  # the host's own address
        (flow(43210, STRANGER), []),  # opened by the host: nobody listens there
    ],
)
def test_connections_to_what_stays_are_cut_for_strangers(found: Flow, names: list[str]) -> None:
    known = [listener("tcp", 22), listener("tcp", 8443)]
    own = [link("eth0", addresses=("192.0.2.10",))]
    assert cut(listeners=known, flows=[found], links=own) == [
        name for name in names if STRANGER in name or CLIENT in name
    ]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ([link("tailscale0", "tun")], ["tunnel:tailscale0"]),
        ([link("wg0", "wireguard")], ["tunnel:wg0"]),
        ([link("sit0", "sit", up=False)], []),
        ([link("docker0", "bridge")], ["bridge:docker0"]),
        ([link("br0", "bridge"), link("tap0", "tun", bridge="br0")], ["bridge:br0"]),
        ([link("vmbr0", "bridge"), link("eth0", "", bridge="vmbr0")], []),
        ([link("eth0.42", "vlan")], []),
        ([link("eth0", leased="192.0.2.10")], ["lease:eth0"]),
    ],
)
def test_links_that_forward_or_expire_are_cut(found: list[Link], names: list[str]) -> None:
    assert cut(links=found) == names


def sentences(rules: nft_policy.Policy | None = None, **found: Any) -> str:
    facts = Facts(**{"listeners": [], "containers": [], "flows": [], "links": [], **found})
    return "".join(cut.sentence for cut in listeners.cuts(rules or policy(), facts))


def test_a_tunnel_is_kept_by_its_far_end_and_tailscale_has_none() -> None:
    peer = (ipaddress.ip_address("198.51.100.7"), 51820)
    tunnel = link("wg0", "wireguard", peers=(peer,))
    entry = {"address": "198.51.100.7", "protocol": "udp", "port": 51820}
    assert "{address: 198.51.100.7, protocol: udp, port: 51820}" in sentences(links=[tunnel])
    assert cut(rules=policy(allow=[entry]), links=[tunnel]) == []
    assert cut(rules=policy(allow=[{**entry, "address": ADMIN}]), links=[tunnel]) != []
    assert "no entry can name" in sentences(links=[link("tailscale0", "tun")])


def test_a_bridge_is_known_when_its_containers_may_open_something() -> None:
    bridge = link("br-apps", "bridge")
    entry = {"from": "br-apps", "address": STRANGER, "protocol": "tcp", "port": 443}
    assert "{from: br-apps, " in sentences(links=[bridge])
    assert cut(rules=policy(allow_containers=[entry]), links=[bridge]) == []


def test_guests_on_the_wire_are_told_apart() -> None:
    found = [
        link("vmbr0", "bridge"),
        link("eth0", bridge="vmbr0"),
        link("tap0", "tun", bridge="vmbr0"),
    ]
    assert links.wired_bridges(found) == {"vmbr0"}
    assert "beside its rules and not behind them" in sentences(links=found)


def test_another_firewall_stays_and_needs_a_word() -> None:
    assert cut(firewalls=["ufw"]) == ["firewall:ufw"]
    assert "it stays as it is" in sentences(firewalls=["ufw"])
    assert "tcp/22, tcp/8443" in sentences(firewalls=["ufw"])


@pytest.mark.parametrize(
    ("path", "lease"),
    [
        ("run/systemd/netif/leases/2", "ADDRESS=192.0.2.10\nSERVER_ADDRESS=192.0.2.254\n"),
        (
            "var/lib/dhcp/dhclient.eth0.leases",
            "fixed-address 192.0.2.10;\noption dhcp-server-identifier 192.0.2.254;\n",
        ),
        ("run/systemd/netif/leases/3", "ADDRESS=192.0.2.100\nSERVER_ADDRESS=192.0.2.1\n"),
    ],
)
def test_who_gave_a_lease_away_is_read_from_the_client(
    tmp_path: Path, path: str, lease: str
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(lease)
    info = {"family": "inet", "local": "192.0.2.10", "scope": "global", "dynamic": True}
    told = [{"ifname": "eth0", "flags": ["UP"], "addr_info": [info]}]
    [found] = links.links(lambda _command: (0, json.dumps(told)), str(tmp_path))
    assert found.lease_server == ("" if path.endswith("3") else "192.0.2.254")


def test_far_ends_of_wireguard_are_read_from_wg() -> None:
    told = [{"ifname": "wg0", "flags": ["UP"], "linkinfo": {"info_kind": "wireguard"}}]

    def run(command: list[str]) -> tuple[int, str]:
        if command[0] == "ip":
            return 0, json.dumps(told)
        return 0, "wg0\tKEY=\t[2001:db8::7]:51820\nwg0\tKEY=\t(none)\n"

    [found] = links.links(run)
    assert found.peers == ((ipaddress.ip_address("2001:db8::7"), 51820),)


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ({"links": [link("macvlan0", "macvlan")]}, ["macvlan:macvlan0"]),
        ({"foreign_links": [link("eth0", "ipvlan")]}, ["ipvlan:eth0"]),
        ({"foreign_links": [link("enp3s0")]}, ["hardware:enp3s0"]),
        ({"foreign_links": [link("eth0", "veth"), link("sit0", "sit")]}, []),
        ({"links": [link("enp3s0")]}, []),
    ],
)
def test_what_stands_on_the_wire_beside_the_rules_is_named(
    found: dict[str, Any], names: list[str]
) -> None:
    assert cut(**found) == names


def test_links_of_other_namespaces_are_read_once_each(tmp_path: Path) -> None:
    for process, namespace in {
        "self": "net:[1]",
        "7": "net:[1]",
        "8": "net:[2]",
        "9": "net:[2]",
    }.items():
        (tmp_path / "proc" / process / "ns").mkdir(parents=True)
        (tmp_path / "proc" / process / "ns" / "net").symlink_to(namespace)
    (tmp_path / "proc" / "10" / "ns").mkdir(parents=True)  # ended while it was looked at
    asked = []

    def run(command: list[str]) -> tuple[int, str]:
        asked.append(command[1])
        told = {"ifname": "eth0", "flags": [], "linkinfo": {"info_kind": "macvlan"}}
        return 0, json.dumps([{"ifname": "lo", "flags": []}, told])

    assert links.foreign_links(run, str(tmp_path)) == [link("eth0", "macvlan", up=False)]
    assert asked == [f"--net={tmp_path}/proc/8/ns/net"]


def test_a_container_whose_ports_are_allowed_is_kept() -> None:
    rules = policy(allow_inbound=[{"protocol": "tcp", "port": 8096, "from": ["192.0.2.0/24"]}])
    assert cut(rules=rules, containers=[container(running=True)]) == []
    assert cut(rules=rules, containers=[{**container(running=True), "ports": []}]) != []
    assert "{protocol: tcp, port: 8096, from: [NETWORK]}" in sentences(
        containers=[container(running=True)]
    )


def test_a_lease_that_can_be_renewed_is_kept() -> None:
    rules = policy(allow=[{"address": ADMIN, "protocol": "udp", "port": 67}])
    assert cut(rules=rules, links=[link("eth0", leased="192.0.2.10")]) == []


@pytest.mark.parametrize(("running", "names"), [(True, 1), (None, 1), (False, 0)])
def test_containers_that_may_run_are_cut(running: bool | None, names: int) -> None:
    assert cut(containers=[container(running)]) == ["container:media"][:names]


@pytest.mark.parametrize(
    ("address", "port", "word"),
    [
        (ADMIN, 22, ""),
        ("::ffff:192.0.2.1", 22, ""),
        (STRANGER, 22, "lock you out"),
        ("fe80::1%eth0", 22, "lock you out"),
        (ADMIN, 2222, "egress_ssh_port to 2222"),
    ],
)
def test_the_way_in_must_survive(address: str, port: int, word: str) -> None:
    findings = listeners.way_in(policy(), address, port)
    assert bool(findings) == bool(word)
    assert word in "".join(findings)


def test_open_connections_are_read_from_proc(tmp_path: Path) -> None:
    table = tmp_path / "proc" / "net"
    table.mkdir(parents=True)
    head = "  sl  local_address rem_address   st\n"
    (table / "tcp").write_text(
        head
        + "   0: 0A0200C0:0016 4D0200C0:D431 01 00000000:00000000 00:0 0 0 1\n"
        + "   1: 0100007F:0016 0100007F:D431 01 00000000:00000000 00:0 0 0 2\n"
        + "   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:0 0 0 3\n"
    )
    (table / "tcp6").write_text(
        head
        + "   0: 0000000000000000FFFF00000A0200C0:20FB 0000000000000000FFFF0000076433C6:9C40 01 0 0 0\n"
    )
    assert listeners.flows(str(tmp_path)) == [
        Flow(ipaddress.ip_address("192.0.2.10"), 22, ipaddress.ip_address(CLIENT)),
        Flow(ipaddress.ip_address("192.0.2.10"), 8443, ipaddress.ip_address(STRANGER)),
    ]


def test_links_are_read_as_ip_tells_them() -> None:
    told = [
        {"ifname": "lo", "flags": ["UP"], "addr_info": []},
        {
            "ifname": "eth0",
            "flags": ["UP"],
            "master": "br0",
            "addr_info": [
                {"family": "inet", "local": "192.0.2.10", "scope": "global", "dynamic": True},
                {"family": "inet6", "local": "fe80::1", "scope": "link"},
            ],
        },
        {"ifname": "ppp0", "flags": [], "link_type": "ppp", "addr_info": [{}]},
    ]
    assert links.links(lambda _command: (0, json.dumps(told))) == [
        link("eth0", bridge="br0", addresses=("192.0.2.10",), leased="192.0.2.10"),
        link("ppp0", "ppp", up=False),
    ]
    with pytest.raises(AirlockError, match="cannot be listed: found no such file"):
        links.links(lambda _command: (127, "no such file"))
