# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import intent

GOOD: dict[str, Any] = {
    "admin_networks": ["192.168.10.0/24", "fd00::/64"],
    "client_networks": ["192.168.20.0/24"],
    "apt_proxy": "http://192.168.10.2:3142",
    "server_names": ["ai.home.arpa"],
    "server_addresses": ["192.168.30.10", "fd00::10"],
    "listen_port": 8443,
    "models": {"small": {}},
    "services": {"chat": {"model": "small", "context": 2048}},
    "api_keys": {"laptop": {"services": ["chat"], "expires_days": 30}},
}


def test_good_intent_passes() -> None:
    assert intent.check(GOOD) == []
    assert intent.check({**GOOD, "apt_proxy": ""}) == []


def test_a_model_that_the_backend_cannot_load_is_refused_where_it_is_named() -> None:
    source = {"type": "file", "path": "/x"}
    file = {"path": "model.safetensors", "size": 5, "sha256": "a" * 64, "source": source}
    model = {"revision": "1", "licence": "MIT", "files": [file]}
    assert intent.check({**GOOD, "models": {"small": model}}) == [
        "airlock_services.chat: llama.cpp cannot load the model small: expected GGUF, a file that ends in .gguf, "
        "found model.safetensors; name a model in GGUF; one of another format can be held ready in model_store_keep."
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"admin_networks": []}, "airlock_admin_networks is empty"),
        ({"admin_networks": ["192.168.10.5/24"]}, "has host bits set"),
        ({"client_networks": ["::/0"]}, "is everybody"),
        ({"apt_proxy": "http://proxy.lan:3142"}, "a name cannot be used"),
        ({"apt_proxy": "https://192.168.10.2:3142"}, "plain http is safe"),
        ({"apt_proxy": "http://192.168.10.2"}, "expected http://ADDRESS:PORT"),
        ({"apt_proxy": "http://192.168.10.2:99999"}, "expected http://ADDRESS:PORT"),
        ({"listen_port": 70000}, "expected a port from 1 to 65535"),
        ({"api_keys": {"laptop": {"services": "chat"}}}, "expected a list of the services"),
        ({"server_names": ["AI.home"]}, "not a DNS name"),
        ({"server_addresses": ["192.168.30"]}, "is not an IP address"),
        ({"server_names": [], "server_addresses": []}, "are both empty"),
        ({"services": {}}, "airlock_services is empty"),
        ({"services": {"Chat": {"model": "small"}}}, "expected a name of"),
        ({"services": {"chat": {"model": "big"}}}, "there is no entry big in airlock_models"),
        ({"services": {"chat": {"model": ["small"]}}}, "there is no entry ['small'] in"),
        ({"services": {"chat": {"model": "small", "contex": 1}}}, "there is no field contex"),
        ({"services": {"chat": {"model": "small", "context": -1}}}, "whole number above 0"),
        ({"services": {"chat": {"model": "small", "mode": "voice"}}}, "expected chat or embedding"),
        ({"services": {"chat": {"model": "small", "backend": "x"}}}, "expected llama_cpp"),
        ({"api_keys": {"laptop": {"services": ["chta"]}}}, "chta is not in airlock_services"),
        ({"api_keys": {"laptop": {"services": [{"chat": 1}]}}}, "is not in airlock_services"),
        ({"api_keys": {}}, "airlock_api_keys is empty"),
        ({"api_keys": {"laptop": {}}}, "expected a list of the services"),
        (
            {"api_keys": {"laptop": {"services": ["chat"], "expires_days": 4000}}},
            "expected 1 to 366",
        ),
    ],
)
def test_bad_intent_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    findings = intent.check({**GOOD, **change})
    assert any(sentence in finding for finding in findings), findings


def test_misspelled_variables_are_named_with_the_nearest() -> None:
    valid = ["airlock_services", "egress_allow", "egress_state"]
    names = ["airlock_servces", "airlock_services", "egress_alow", "egress_of_my_own"]
    assert intent.unknown_names(names, valid, strict_prefix="airlock_") == [
        "There is no variable airlock_servces; did you mean airlock_services?",
        "There is no variable egress_alow; did you mean egress_allow?",
    ]


def test_the_way_in_must_stay_open() -> None:
    assert intent.way_in("192.168.10.7", ["192.168.10.0/24"]) == []
    assert intent.way_in("fd00::7", ["192.168.10.0/24", "fd00::/64"]) == []
    assert intent.way_in("", ["192.168.10.0/24"]) == []
    assert "lock you out" in intent.way_in("10.0.0.1", ["192.168.10.0/24"])[0]


def test_other_systems_are_refused() -> None:
    systems = {"Debian": ["12", "13"]}
    assert intent.supported("Debian", "13", systems) == []
    assert "found Fedora 43" in intent.supported("Fedora", "43", systems)[0]


def test_a_taken_uid_is_named() -> None:
    passwd = {
        "plex": ["x", "861", "861", "", "/", "/bin/sh"],
        "a0": ["x", "860", "860", "", "/", ""],
    }
    assert intent.accounts(passwd, 860, ["a0"]) == []
    assert "uid 861 is plex" in intent.accounts(passwd, 860, ["a0", "a1"])[0]
    assert "a0 has uid 860" in intent.accounts(passwd, 900, ["a0"])[0]
