# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that do not load at boot leave the host closed, and its owner a way in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

RULES = "/etc/airlock/egress.nft"
CONNECT = "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 80), 3)' %s"


@pytest.fixture
def outside(intent: dict[str, Any]) -> list[str]:
    [target] = intent["airlock_probe_targets"]
    return [target["address4"], target["address6"]]


@pytest.fixture
def broken(inference: Host, outside: list[str]) -> Iterator[None]:
    """The state after a boot at which the kernel took none of the rules."""
    inference.check_output(f"cp --preserve {RULES} /run/rules && echo nonsense >> {RULES}")
    inference.check_output("nft delete table inet airlock")
    assert [inference.run(CONNECT, address).rc for address in outside] == [0, 0]
    assert inference.run("systemctl restart airlock-egress").rc != 0
    yield
    inference.check_output(f"cp --preserve /run/rules {RULES} && rm /run/rules")
    inference.check_output("systemctl restart airlock-egress")


@pytest.mark.usefixtures("broken")
def test_a_host_without_its_rules_is_closed(inference: Host, outside: list[str]) -> None:
    assert inference.check_output("nft list table inet airlock").count("policy drop") == 3
    assert [inference.run(CONNECT, address).rc for address in outside] == [1, 1]


def test_with_its_rules_it_is_as_before(inference: Host) -> None:
    assert inference.service("airlock-egress").is_running
    assert "chain release" in inference.check_output("nft list table inet airlock")
