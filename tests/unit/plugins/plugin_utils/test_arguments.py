# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils import arguments, roles

OPTIONS: dict[str, dict[str, Any]] = {
    "x_networks": {"type": "list", "elements": "str", "required": True},
    "x_state": {"choices": ["present", "absent"]},
    "x_port": {"type": "int"},
    "x_prune": {"type": "bool"},
    "x_models": {"type": "dict"},
    "x_any": {"type": "list", "elements": "raw"},
    "x_modes": {"type": "list", "elements": "str", "choices": ["a", "b"]},
    "x_allow": {
        "type": "list",
        "elements": "dict",
        "options": {
            "port": {"type": "int", "required": True},
            "protocol": {"type": "str", "choices": ["tcp", "udp"]},
        },
    },
}
GOOD: dict[str, Any] = {"x_networks": ["192.168.10.0/24"]}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"x_port": "8443", "x_prune": "yes", "x_state": "absent"},  # as -e name=value gives them
        {"x_any": [1, {}], "x_modes": ["a", "b"]},
        {"x_allow": [{"port": 53, "protocol": None}]},
    ],
)
def test_what_fits_passes(change: dict[str, Any]) -> None:
    assert arguments.findings(OPTIONS, {**GOOD, **change}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_models": []}, "x_models: expected a dictionary, found []."),
        ({"x_networks": {}}, "x_networks: expected a list, found {}."),
        ({"x_networks": "a"}, "x_networks: expected a list, found 'a'; write [a]."),
        ({"x_networks": [["a"]]}, "x_networks[0]: expected a text, found ['a']."),
        ({"x_state": ["absent"]}, "x_state: expected a text, found ['absent']."),
        ({"x_state": "gone"}, "x_state: expected present or absent, found 'gone'."),
        ({"x_port": True}, "x_port: expected a whole number, found True."),
        ({"x_port": 1.5}, "x_port: expected a whole number, found 1.5."),
        ({"x_port": "ssh"}, "x_port: expected a whole number, found 'ssh'."),
        ({"x_prune": "perhaps"}, "x_prune: expected true or false, found 'perhaps'."),
        (
            {"x_models": None},
            "x_models: expected a dictionary, found nothing; give it a value, or leave it out.",
        ),
        ({"x_modes": ["a", "c"]}, "x_modes[1]: expected a or b, found 'c'."),
        ({"x_allow": ["tcp"]}, "x_allow[0]: expected a dictionary, found 'tcp'."),
        ({"x_allow": [{"prot": 1, "port": 1}]}, "x_allow[0]: there is no field prot;"),
        ({"x_allow": [{"protocol": "tcp"}]}, "x_allow[0]: the field port is missing; add it."),
        (
            {"x_allow": [{"port": 1}, {"port": 1, "protocol": "icmp"}]},
            "x_allow[1].protocol: expected tcp or udp, found 'icmp'.",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_its_place(
    change: dict[str, Any], sentence: str
) -> None:
    (finding,) = arguments.findings(OPTIONS, {**GOOD, **change})
    assert finding.startswith(sentence)


def test_what_is_required_has_to_be_set() -> None:
    assert arguments.findings(OPTIONS, {}) == ["x_networks is not set: expected a list."]


def test_a_long_value_is_not_printed_whole() -> None:
    (finding,) = arguments.findings(OPTIONS, {**GOOD, "x_models": ["x" * 10_000]})
    assert len(finding) < 200


def test_a_role_that_is_needed_cannot_go() -> None:
    needs = {"gateway": ["pki", "runtime"], "runtime": ["egress"]}
    states = {"egress": "absent", "pki": "present", "runtime": "present", "gateway": "present"}
    (finding,) = roles.removals(states, needs)
    assert "egress_state is absent, but runtime is present" in finding
    assert roles.removals({**states, "egress": "present", "gateway": "absent"}, needs) == []


def test_what_all_roles_stand_on_goes_last() -> None:
    (finding,) = roles.removals({"baseline": "absent", "pki": "absent"}, {})
    assert "use uninstall.yml" in finding
