# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Docker beside our table: each leaves the other alone, whoever restarts."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

FOREIGN_TABLES = (Path(__file__).parents[3] / "molecule/egress/files/foreign_tables").read_text()
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
USERS = ["root", "_apt", "nobody", "airlock-r00", "airlock-gatekeeper", "airlock-edge"]
CONTAINERS = ["dialler", "films", "leftover"]
Dial = Callable[[str, int], list[str]]


def as_user(name: str) -> Dial:
    return lambda address, port: [
        "setpriv",
        f"--reuid={name}",
        "--clear-groups",
        *connect(address, port),
    ]


def connect(address: str, port: int) -> list[str]:
    return ["python3", "-c", CONNECT, address, str(port)]


def in_container(host: Host, name: str) -> Dial:
    pid = host.check_output("docker inspect --format {{.State.Pid}} %s", name)
    return lambda address, port: ["nsenter", f"--target={pid}", "--net", *connect(address, port)]


def reached(host: Host, attempts: list[list[str]]) -> list[str]:
    """Make all attempts at once; return those that got there."""
    lines = [
        f"({shlex.join(attempt)} 2>/dev/null && echo {shlex.quote(shlex.join(attempt))}) &"
        for attempt in attempts
    ]
    return list(host.run("\n".join([*lines, "wait"])).stdout.splitlines())


def refused(host: Host) -> int:
    """Return how many packets the named counters of our table have seen refused."""
    listed = json.loads(host.check_output("nft -j list counters table inet airlock"))["nftables"]
    counters = [item["counter"] for item in listed if "counter" in item]
    return sum(item["packets"] for item in counters if item["name"].endswith("_refused"))


def tables(host: Host) -> str:
    return str(host.check_output(shlex.join(["sh", "-c", FOREIGN_TABLES])))


@pytest.fixture(scope="session")
def outside(intent: dict[str, Any]) -> list[str]:
    [target] = intent["airlock_probe_targets"]
    return [target["address4"], target["address6"]]


@pytest.fixture(scope="session")
def before(site: Path) -> str:
    return (site / "foreign-tables.txt").read_text().strip()


def still_closed(host: Host, outside: list[str]) -> None:
    """Nobody gets out, and it is our table that counts each of them."""
    principals = [*map(as_user, USERS), *(in_container(host, name) for name in CONTAINERS)]
    counted = refused(host)
    attempts = [dial(address, 80) for dial in principals for address in outside]
    assert reached(host, attempts) == []
    assert refused(host) >= counted + len(attempts)


def still_serving(host: Host, client: Host, intent: dict[str, Any], outside: list[str]) -> None:
    """What is in egress_allow_containers and egress_allow_inbound works, over both families."""
    dial = in_container(host, "leftover")
    attempts = [dial(address, 4444) for address in outside]
    assert len(reached(host, attempts)) == len(attempts)
    for address in intent["airlock_server_addresses"]:
        name = f"[{address}]" if ":" in address else address
        assert client.check_output(f"curl -sS --max-time 5 http://{name}:8096/") == "films"


def test_the_tables_of_the_engine_are_what_they_were(inference: Host, before: str) -> None:
    assert "DOCKER" in before
    assert tables(inference) == before


def test_an_allowed_container_still_works(
    inference: Host, client: Host, intent: dict[str, Any], outside: list[str]
) -> None:
    still_serving(inference, client, intent, outside)


def test_a_restart_of_nftables_opens_nothing(inference: Host, outside: list[str]) -> None:
    """Debian's service flushes every table: those of the engine are gone until it starts again, ours is not."""
    inference.check_output("systemctl restart nftables.service")
    assert "DOCKER" not in tables(inference)
    still_closed(inference, outside)


def test_a_restart_of_docker_opens_nothing_and_brings_back_what_was_allowed(
    inference: Host, client: Host, intent: dict[str, Any], outside: list[str], before: str
) -> None:
    inference.check_output("systemctl restart docker.service")
    deadline = time.monotonic() + 120
    while len(inference.check_output("docker ps --quiet").split()) < len(CONTAINERS):
        assert time.monotonic() < deadline, inference.check_output("docker ps --all")
        time.sleep(0.5)
    # The engine starts its containers in any order, and writes their rules in that.
    assert sorted(tables(inference).splitlines()) == sorted(before.splitlines())
    still_closed(inference, outside)
    still_serving(inference, client, intent, outside)
