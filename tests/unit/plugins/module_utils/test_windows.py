# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import windows
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.windows import Destination

DEBIAN = {"name": "deb.debian.org", "port": 80, "where": "/etc/apt/sources.list"}
ADDRESSES = {
    "deb.debian.org": ["151.101.2.132", "2a04:4e42::644"],
    "inside.example.org": ["151.101.2.132", "192.168.1.1"],
    "shy.example.org": ["fe80::1%eth0"],
}


def resolve(name: str) -> list[str]:
    return ADDRESSES.get(name, [])


def plan(sources: list[dict[str, Any]], mirrors: Any, wanted: Any = None) -> list[Destination]:
    return windows.plan(sources, mirrors, wanted, resolve)


def test_what_the_host_names_and_the_owner_allows_is_opened_where_it_resolves_to() -> None:
    assert plan([DEBIAN], ["deb.debian.org", "security.debian.org"]) == [
        Destination("deb.debian.org", "151.101.2.132", 80),
        Destination("deb.debian.org", "2a04:4e42::644", 80),
    ]


@pytest.mark.parametrize(
    "source",
    [
        {"name": "evil.example.org", "port": 80, "where": "x"},
        {"name": "deb.debian.org", "port": 22, "where": "x"},
        {"name": "192.168.1.1", "port": 80, "where": "x"},
        {"name": "deb.debian.org.evil.example.org", "port": 80, "where": "x"},
    ],
)
def test_what_only_the_host_names_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(
        AirlockError, match=r"wants packages from where you do not allow it.*airlock_mirrors"
    ):
        plan([DEBIAN, source], ["deb.debian.org"])


def test_an_address_of_the_house_opens_only_where_the_owner_wrote_it_down() -> None:
    source = {"name": "inside.example.org", "port": 80, "where": "x"}
    with pytest.raises(
        AirlockError, match=r"not public: found inside\.example\.org at 192\.168\.1\.1"
    ):
        plan([source], ["inside.example.org"])
    given = {"name": "inside.example.org", "address": "192.168.1.1"}
    assert plan([source], [given]) == [Destination("inside.example.org", "192.168.1.1", 80)]


def test_a_port_of_its_own_has_to_be_the_owners() -> None:
    source = {"name": "10.0.0.9", "port": 3142, "where": "x"}
    assert plan([source], [{"name": "10.0.0.9", "port": 3142}]) == [
        Destination("10.0.0.9", "10.0.0.9", 3142)
    ]
    with pytest.raises(AirlockError, match="port 3142"):
        plan([source], ["10.0.0.9"])


def test_what_is_asked_for_by_name_takes_the_place_of_the_sources() -> None:
    stranger = {"name": "evil.example.org", "port": 80, "where": "x"}
    assert {(entry.name, entry.port) for entry in plan([stranger], [], ["deb.debian.org"])} == {
        ("deb.debian.org", 80),
        ("deb.debian.org", 443),
    }
    assert {entry.port for entry in plan([DEBIAN], [], ["deb.debian.org"])} == {80}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",  # noqa: S104
        "::",
        "255.255.255.255",
        "::ffff:10.0.0.1",
        "10.0.0.0/8",
        "example.org",
        "10.0.0.1; add rule",
        7,
        "fe80::1%eth0",
    ],
)
def test_addresses_that_no_window_opens_towards(address: Any) -> None:
    with pytest.raises(AirlockError, match="no window opens towards this address"):
        plan([], [], [{"name": "x.example.org", "address": address}])


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "two words",
        "a_b",
        "-a.org",
        "x\n10.0.0.1 deb.debian.org",
        None,
        7,
        {},
        {"address": "10.0.0.1"},
        {"name": "a.org", "protocol": "udp"},
        ["a.org"],
        "a" * 64 + ".org",
    ],
)
def test_what_is_no_destination(entry: Any) -> None:
    with pytest.raises(AirlockError, match=r"destinations\[0\]"):
        plan([], [], [entry])


@pytest.mark.parametrize("port", [0, 65536, "80", True, 1.5])
def test_what_is_no_port(port: Any) -> None:
    with pytest.raises(AirlockError, match="not a port"):
        plan([], [], [{"name": "a.org", "address": "10.0.0.1", "port": port}])


def test_nothing_to_open_and_too_much_are_refused() -> None:
    with pytest.raises(AirlockError, match="1 to 64 destinations, found 0"):
        plan([], ["deb.debian.org"])
    with pytest.raises(AirlockError, match="found 65"):
        plan(
            [],
            [],
            [{"name": "a.org", "address": "10.0.0.1", "port": port} for port in range(1, 66)],
        )
    with pytest.raises(AirlockError, match="cannot resolve this name: found gone"):
        plan([], [], ["gone.example.org"])
    with pytest.raises(AirlockError, match="not public"):
        plan([], [], ["shy.example.org"])
    with pytest.raises(AirlockError, match="not a list"):
        plan([], "deb.debian.org")


@pytest.mark.parametrize("reason", ["", "  ", None, "two\nlines", 7])
def test_no_window_without_a_reason(reason: Any) -> None:
    with pytest.raises(AirlockError, match="without a reason"):
        windows.check_request(reason, 30)


@pytest.mark.parametrize("minutes", [0, 241, -1, "", "3 0", "30s", "٣", None, 1.5])
def test_no_window_for_an_odd_time(minutes: Any) -> None:
    with pytest.raises(AirlockError, match="1 to 240 minutes"):
        windows.check_request("why", minutes)


def test_a_reason_and_a_time_are_enough() -> None:
    assert [windows.check_request("why", minutes) for minutes in (1, "30", 240)] == [1, 30, 240]
    with pytest.raises(AirlockError, match="too long"):
        windows.check_request("x" * 301, 30)


def test_a_module_takes_no_name_without_address() -> None:
    with pytest.raises(AirlockError, match="resolves no names"):
        windows.destinations([{"name": "deb.debian.org", "port": 80}])
