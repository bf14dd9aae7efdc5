# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections import Counter
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import probes, releases_probes


def release(name: str, user: str) -> dict[str, Any]:
    return {
        "release": name,
        "user": user,
        "artifact": {"path": "/opt/airlock/runtimes/llama_cpp-1"},
        "config": {"socket": f"/run/airlock/runtime/{name}/http.sock"},
    }


CHAT, EMBED = release("chat-1", "airlock-r01"), release("embed-1", "airlock-r02")
TARGETS = [{"name": "wan", "address4": "198.18.50.10", "tcp": [80]}]


def by_kind(attempts: list[dict[str, Any]], purpose: str) -> list[dict[str, Any]]:
    return [probe for probe in attempts if probe["id"].startswith(f"{purpose}/")]


def test_every_attack_is_tried_from_inside_every_release() -> None:
    attempts = releases_probes.attempts([CHAT, EMBED], TARGETS)
    inside = Counter(probe["unit"] for probe in attempts if probe.get("unit"))
    assert set(inside) == {"airlock-runtime@chat-1.service", "airlock-runtime@embed-1.service"}
    assert len(set(inside.values())) == 1
    for probe in by_kind(attempts, "out"):
        assert probe["user"] in ("airlock-r01", "airlock-r02")
    assert {probe["kind"] for probe in by_kind(attempts, "out")} == {"tcp", "icmp"}
    assert {probe["path"] for probe in by_kind(attempts, "host")} == set(
        releases_probes.HOST_SOCKETS
    )


def test_a_release_is_not_its_own_neighbour() -> None:
    peers = by_kind(releases_probes.attempts([CHAT, EMBED], []), "peer")
    assert [(probe["unit"], probe["path"]) for probe in peers] == [
        ("airlock-runtime@chat-1.service", "/run/airlock/runtime/embed-1/http.sock"),
        ("airlock-runtime@embed-1.service", "/run/airlock/runtime/chat-1/http.sock"),
    ]


def test_every_denial_has_a_control_for_the_same_destination() -> None:
    attempts = releases_probes.attempts([CHAT, EMBED], [])
    controls = {(p["kind"], p.get("path", "")) for p in attempts if p["expect"] == "reached"}
    denied = {(p["kind"], p.get("path", "")) for p in attempts if p["expect"] == "refused"}
    assert denied == controls
    assert all("unit" not in probe for probe in by_kind(attempts, "control"))


def test_net_probe_understands_every_attack() -> None:
    for index, probe in enumerate(releases_probes.attempts([CHAT, EMBED], TARGETS)):
        probes.parse(probe, index)
