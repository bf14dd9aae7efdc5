# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    manifests,
    models_intent,
    models_lock,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

SOURCE = {"type": "https", "url": "https://a.example/m.gguf", "sha256": "a" * 64}
FILE = {"path": "m.gguf", "size": 7, "sha256": "a" * 64, "source": SOURCE}
INLINE = {"small": {"revision": "1", "licence": "MIT", "files": [FILE]}}


def intent(name: str = "chat", **changes: Any) -> models_intent.Intent:
    entry = {"source": SOURCE, "revision": "1", "licence": "MIT", "why": "a test", **changes}
    return models_intent.parse(entry, name, "models.yml", datetime.date(2026, 11, 21))


def locked(**changes: Any) -> dict[str, Any]:
    return models_lock.entry(intent(**changes), "https://a.example/m.gguf", [FILE])


def lock_of(entry: dict[str, Any]) -> bytes:
    return models_lock.dumps({"chat": entry}, {"payload": "x"})


def test_a_lock_survives_its_file_and_makes_the_manifest_of_an_inline_entry() -> None:
    models, envelope = models_lock.parse(lock_of(locked()), "lock")
    assert envelope == {"payload": "x"}
    assert models == {"chat": locked()}
    catalog = models_lock.catalog(INLINE, {"chat": intent()}, models)
    assert list(catalog) == ["small", "chat"]
    pulled, written = (manifests.manifest(catalog, name) for name in ("chat", "small"))
    assert pulled.files == written.files


def test_whose_signature_is_demanded_goes_from_the_intent_into_the_catalog() -> None:
    wanted = {"type": "certificate", "bundle": "b", "ca": "c", "identity": "i"}
    day = {"as_of": datetime.date(2026, 11, 21)}
    models = {"chat": locked(signature={**wanted, **day})}
    assert models_lock.parse(lock_of(models["chat"]), "lock")[0] == models
    catalog = models_lock.catalog({}, {"chat": intent(signature={**wanted, **day})}, models)
    assert catalog["chat"]["signature"] == {**wanted, "as_of": "2026-11-21"}
    with pytest.raises(AirlockError, match="was changed since"):
        models_lock.catalog({}, {"chat": intent()}, models)
    with pytest.raises(AirlockError, match=r"signature\.type"):
        intent(signature={"type": "trust-me"})


def test_a_model_that_was_not_pulled_or_is_not_wanted_is_not_there() -> None:
    assert models_lock.catalog({}, {"chat": intent()}, {}) == {}
    assert models_lock.catalog({}, {}, {"chat": locked()}) == {}


@pytest.mark.parametrize(
    ("inline", "wanted", "sentence"),
    [
        (INLINE, {"small": intent("small")}, "model small: the model is in models.yml and in"),
        (
            {},
            {"chat": intent(why="more")},
            "model chat: models.yml was changed since .* model=chat",
        ),
        ({}, {"chat": intent(revision="2")}, "models.yml was changed since the model was locked"),
    ],
)
def test_what_contradicts_the_lock_is_refused(
    inline: dict[str, Any], wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        models_lock.catalog(inline, wanted, {"chat": locked()})


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "lock: this is not valid JSON"),
        (b"[]", "lock: this is not a mapping"),
        (b'{"version": 2, "models": {}}', "lock: version: the number does not fit"),
        (b'{"version": 1, "models": []}', "lock: the models are no mapping"),
        (b'{"version": 1, "models": {"chat": {}}}', "lock: chat: the key 'intent' is missing"),
        (
            lock_of({**locked(), "files": [{**FILE, "path": "../m"}]}),
            "lock: airlock_models.chat.files.0..path: the path does not fit",
        ),
        (
            lock_of({**locked(), "files": [FILE, {**FILE, "path": "M.gguf"}]}),
            "the path appears twice",
        ),
        (lock_of({**locked(), "extra": 1}), "the key 'extra' is unknown"),
    ],
)
def test_a_malformed_lock_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence) as refusal:
        models_lock.parse(data, "lock")
    assert "\n" not in str(refusal.value)
