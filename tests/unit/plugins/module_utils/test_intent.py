# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from ansible_collections.homelab.airlock.plugins.module_utils import intent
from ansible_collections.homelab.airlock.tests.corpus.catalogues import CATALOGUE

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
    "exposure": "internal",
    "authentication": "tls",
    "clients": {},
    "certificate_days": 90,
    "visit_days": 30,
}


def test_good_intent_passes() -> None:
    assert intent.check(GOOD) == []
    assert intent.check({**GOOD, "apt_proxy": ""}) == []


HIGH = {**GOOD, "exposure": "high", "authentication": "mtls", "clients": {"alice": {}}}


def bound(to: str) -> dict[str, Any]:
    return {"api_keys": {"laptop": {"services": ["chat"], "certificate": to}}}


def test_a_key_is_bound_to_somebody_who_has_a_certificate_and_is_asked_for_it() -> None:
    assert intent.check({**HIGH, **bound("alice")}) == []
    assert intent.check({**HIGH, **bound("ab" * 32)}) == []
    assert intent.check({**HIGH, **bound("alise")}) == [
        "airlock_api_keys.laptop.certificate: there is no alise in airlock_clients; expected alice, "
        "or the SHA-256 of a certificate."
    ]
    (sentence,) = intent.check({**GOOD, "clients": {"alice": {}}, **bound("alice")})
    assert "airlock_authentication is tls, so nobody is asked for a certificate" in sentence


def test_keys_that_end_between_two_visits_are_named_and_not_refused() -> None:
    keys = {
        "laptop": {"services": ["chat"]},
        "guest": {"services": ["chat"], "expires_days": 7},
        "agent": {"services": ["chat"], "expires_days": 60},
    }
    said = {**GOOD, "api_keys": keys}
    assert intent.check(said) == []
    (sentence,) = intent.advice(said)
    assert sentence.startswith(
        "airlock_api_keys: laptop (expires_days: 30), guest (expires_days: 7) may end"
    )
    assert "let it live 60 days, or come every 3 " in sentence
    assert intent.advice({**GOOD, "visit_days": 15}) == []


@pytest.mark.parametrize("controller", ["visits", "always_on"])
def test_what_nobody_changed_renews_every_key_in_time(controller: str) -> None:
    root = Path(__file__).resolve().parents[4]
    defaults = yaml.safe_load((root / "roles/preflight/defaults/main.yml").read_text())
    example = yaml.safe_load((root / "examples/homelab/group_vars/all/airlock.yml").read_text())
    days = NativeEnvironment().from_string(defaults["airlock_visit_days"])
    visit = days.render(airlock_controller=controller)
    assert intent.advice({"api_keys": example["airlock_api_keys"], "visit_days": visit}) == []


def test_a_client_is_not_named_like_a_host() -> None:
    (sentence,) = intent.check(HIGH, ["inference", "alice"])
    assert sentence.startswith("airlock_clients.alice: a host has this name")
    assert intent.check(HIGH, ["inference"]) == []


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
        ({"api_keys": {"laptop": {"services": [{"chat": 1}]}}}, "services: the value does not fit"),
        ({"api_keys": {"laptop": "aik_laptop_secret"}}, "this is not an API key"),
        ({"api_keys": {"laptop": {"services": ["chat"], "max_token": 1}}}, "expected 'max_tokens'"),
        ({"api_keys": {}}, "airlock_api_keys is empty"),
        ({"api_keys": {"laptop": {}}}, "expected a list of the services"),
        (
            {"api_keys": {"laptop": {"services": ["chat"], "expires_days": 4000}}},
            "expires_days: the number does not fit: expected 1 to 366",
        ),
        (
            {"server_names": ["ai.home.arpa"] * 2},
            "airlock_server_names: ai.home.arpa is there 2 times",
        ),
        (
            {"server_addresses": ["fd00::10", "FD00:0::10", "192.168.30.10"]},
            "airlock_server_addresses: fd00::10 is there 2 times",
        ),
        ({"authentication": "key"}, "is less than airlock_exposure: internal asks for"),
        ({"exposure": "high"}, "tls (TLS and a key) is less than airlock_exposure: high asks for"),
        ({"exposure": "high", "authentication": "mtls"}, "airlock_clients is empty"),
        ({"client_networks": ["8.8.8.0/24"]}, "is no private network"),
        ({"clients": {"alice": {"key": "x"}}}, "airlock_clients.alice: expected {}, or csr"),
        ({"clients": {"Alice": {}}}, "airlock_clients.Alice: expected a name of"),
        ({"certificate_days": 59}, "expected 60 to 397, found 59"),
        ({"certificate_days": 400}, "expected 60 to 397, found 400"),
    ],
)
def test_bad_intent_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    findings = intent.check({**GOOD, **change})
    assert any(sentence in finding for finding in findings), findings


def keys_for(*routes: str) -> dict[str, Any]:
    return {"laptop": {"services": ["chat"], "routes": list(routes)}}


def test_a_route_that_no_service_has_is_refused_with_the_nearest() -> None:
    services = GOOD["services"]
    good = keys_for("/v1/chat/completions", "/v1/models", "/v1/embeddings")
    assert intent.check_routes(good, services, CATALOGUE) == []
    assert intent.check_routes(GOOD["api_keys"], services, CATALOGUE) == []
    assert intent.check_routes(keys_for("/v1/chat/completion"), services, CATALOGUE) == [
        "airlock_api_keys.laptop.routes: no service has the route /v1/chat/completion; did you mean "
        "/v1/chat/completions?"
    ]
    # One of another backend, and one that a backend has and nobody gets.
    for route in ("/api/generate", "/slots"):
        (sentence,) = intent.check_routes(keys_for(route), services, CATALOGUE)
        assert (
            f"no service has the route {route}; expected some of /v1/chat/completions," in sentence
        )


def test_routes_of_what_is_refused_anyway_are_not_looked_at() -> None:
    odd = keys_for("/v2")
    assert intent.check_routes(odd, {"chat": {"backend": "x"}, "embed": 1}, CATALOGUE) == []
    assert (
        intent.check_routes({"a": 1, "b": {"services": "chat"}}, GOOD["services"], CATALOGUE) == []
    )


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
