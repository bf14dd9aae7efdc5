# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import probes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.probes import Outcome, Probe


def probe(**changes: Any) -> Probe:
    return probes.parse({"id": "x", "kind": "tcp", "expect": "refused", **changes}, 0)


def tried(outcome: str = "refused", **changes: Any) -> dict[str, Any]:
    given = {"address": "192.0.2.9", "port": 80, **changes}
    return probes.result(probe(**given), Outcome(outcome, errno="EACCES", ms=3))


def record(results: list[dict[str, Any]], controls: list[dict[str, Any]]) -> dict[str, Any]:
    return probes.records(
        results, control="NET-01", vantage="self", controls=controls, seen_from="client"
    )[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "tcp", "port": 80}, "probes[0]: a probe of kind tcp needs address"),
        ({"kind": "unix"}, "probes[0]: a probe of kind unix needs path"),
        ({"address": "wan.lan", "port": 80}, "probes[0].address: nothing resolves names"),
        ({"address": "fe80::1%eth0", "port": 80}, "probes[0].address: nothing resolves names"),
        ({"address": "192.0.2.9", "port": 65536}, "probes[0].port: this is not a port"),
        ({"kind": "unix", "path": "/" + "x" * 107}, "probes[0].path: no socket can have this"),
        ({"address": "192.0.2.9", "port": 80, "source_port": -1}, "probes[0].source_port: this is"),
        (
            {"kind": "icmp", "address": "192.0.2.9", "size": 65001},
            "probes[0].size: no packet carries",
        ),
        (
            {"kind": "interfaces", "unit": "a.service", "container": "b"},
            "probes[0]: a probe can be in one place only",
        ),
    ],
)
def test_a_probe_that_cannot_be_tried_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(AirlockError) as refusal:
        probe(**entry)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("expect", "outcome", "holds"),
    [
        ("refused", "refused", True),
        ("refused", "timeout", True),
        ("refused", "reached", False),
        ("refused", "untried", True),
        ("reached", "untried", False),
        ("refused", "error", False),
        ("reached", "reached", True),
        ("reached", "refused", False),
        ("reached", "timeout", False),
        ("reached", "error", False),
    ],
)
def test_an_error_meets_no_expectation(expect: str, outcome: str, holds: bool) -> None:
    assert tried(outcome, expect=expect)["holds"] is holds


def test_a_denial_needs_the_same_destination_reached_elsewhere() -> None:
    control = tried("reached", expect="reached")
    assert record([tried()], [control])["positive_control"] == "reached from client in 3 ms"
    for other in (
        tried("refused"),
        tried("reached", port=81),
        tried("reached", address="192.0.2.8"),
        tried("reached", kind="udp"),
    ):
        assert record([tried()], [other])["positive_control"] is None


def test_the_same_probe_at_another_time_is_a_control_too() -> None:
    def positive(**changes: Any) -> str | None:
        """Return the control of a denial by a probe that was reached after ``changes``."""
        [written] = probes.records(
            [tried(user="nobody")],
            control="NET-01",
            vantage="self",
            controls=[tried("reached", **changes)],
            seen_from="here before",
            match="probe",
        )
        return written["positive_control"]

    assert positive(user="nobody") == "reached from here before in 3 ms"
    assert positive(user="nobody", id="y") is None


def test_what_was_reached_needs_no_control() -> None:
    reached = tried("reached", expect="reached")
    written = record([reached], [reached])
    assert (written["denial"], written["positive_control"]) == (False, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "nobody"}, "tcp 192.0.2.9:80 as nobody"),
        ({"address": "2001:db8::9"}, "tcp [2001:db8::9]:80"),
        ({"kind": "icmp", "port": None, "unit": "a.service"}, "icmp 192.0.2.9 inside a.service"),
        (
            {"container": "web", "source_port": 53, "size": 900},
            "tcp 192.0.2.9:80 inside container web from port 53 with 900 bytes",
        ),
        ({"address": "fe80::9", "interface": "eth0"}, "tcp [fe80::9]:80 over eth0"),
        ({"kind": "unix", "address": "", "port": 0, "path": "/run/x"}, "unix /run/x"),
        (
            {"kind": "interfaces", "address": "", "port": 0, "unit": "a.service"},
            "interfaces inside a.service",
        ),
    ],
)
def test_a_probe_reads_as_a_sentence(changes: dict[str, Any], words: str) -> None:
    assert probes.describe(tried(**changes)) == words


def test_observations_say_what_happened() -> None:
    assert record([tried()], [])["observed"] == "refused: EACCES after 3 ms"
    broken = probes.result(probe(kind="interfaces"), Outcome("error", detail="no such unit"))
    written = record([broken], [])
    assert (written["observed"], written["holds"]) == ("error: no such unit", False)


def test_targets_are_spelled_out_for_every_user_and_family() -> None:
    target = {
        "name": "wan",
        "address4": "192.0.2.9",
        "address6": "2001:db8::9",
        "tcp": [80],
        "udp": [7],
        "dns": True,
    }
    spelled = probes.for_targets([target], users=["root", ""], unit="a.service", expect="refused")
    assert len(spelled) == len({entry["id"] for entry in spelled}) == 16
    for index, entry in enumerate(spelled):
        probes.parse(entry, index)
    assert spelled[3] == {
        "id": "root/wan/icmp/192.0.2.9",
        "user": "root",
        "unit": "a.service",
        "expect": "refused",
        "kind": "icmp",
        "address": "192.0.2.9",
    }
    assert probes.for_targets([], users=["root"], unit="", expect="refused") == []
