# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter import manifests, release_probes, releases

SOURCE = {"type": "pypi", "package": "p", "version": "1", "sha256": "a" * 64, "member": "m"}
FILE = {"path": "model.gguf", "size": 7, "sha256": "b" * 64, "source": SOURCE}
MODELS: dict[str, Any] = {
    "small": {"revision": "1", "licence": "MIT", "files": [FILE]},
    "unused": {"revision": "1", "licence": "MIT", "files": [FILE]},
}
SERVICES = {"chat": {"model": "small"}}
WHEEL = {"sha256": "a" * 64, "size": 9, "source": {**SOURCE, "member": None}}


def test_models_come_in_the_forms_that_the_modules_take() -> None:
    (model,) = manifests.FilterModule().filters()["manifests"](MODELS, SERVICES)
    place = {"sha256": "b" * 64, "size": 7}
    stored = f"/var/lib/airlock/store/sha256-{'b' * 64}"
    digest = hashlib.sha256(model["manifest"]["content"].rstrip("\n").encode()).hexdigest()
    file = {"path": stored, "name": "model.gguf", **place}
    assert model["model"] == {"name": "small", "manifest": digest, "files": [file]}
    pushed = {"dest": stored, "manifest": digest, "model_file": "model.gguf", **place}
    assert model["pushes"] == [pushed]
    fetched = {
        "name": "model small, model.gguf",
        "source": SOURCE,
        "model": "small",
        "model_file": "model.gguf",
    }
    assert model["artifacts"] == [{**fetched, **place}]
    assert model["manifest"]["path"] == "/var/lib/airlock/manifests/small.json"
    assert json.loads(model["manifest"]["content"])["files"][0]["source"] == "PyPI p 1, member m"


def test_what_the_host_has_is_not_fetched_and_models_can_be_kept() -> None:
    blob = "/usr/share/ollama/.ollama/models/blobs/x"
    file = {**MODELS["small"]["files"][0], "source": {"type": "host", "path": blob}}
    models = {**MODELS, "spare": {**MODELS["small"], "files": [file]}}
    names = manifests.FilterModule().filters()["manifests"]
    assert [model["name"] for model in names(models, SERVICES)] == ["small"]
    _small, spare = names(models, SERVICES, ["spare"])
    assert (spare["artifacts"], spare["pushes"][0]["found_at"]) == ([], blob)
    with pytest.raises(AnsibleFilterError, match="model_store_keep: this is a model that"):
        names(models, SERVICES, ["gone"])


def test_releases_are_resolved_and_attacked() -> None:
    found = releases.FilterModule().filters()["releases"](SERVICES, MODELS, {"llama_cpp": WHEEL})
    assert [release["service"] for release in found] == ["chat"]
    attacks = release_probes.FilterModule().filters()["release_probes"](found, [])
    assert found[0]["user"] in {attack.get("user") for attack in attacks}


def test_a_refusal_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="a model that the catalog does not have"):
        manifests.manifests(MODELS, {"chat": {"model": "big"}})
    with pytest.raises(AnsibleFilterError, match="a model that the catalog does not have"):
        releases.releases({"chat": {"model": "big"}}, MODELS, {"llama_cpp": WHEEL})
