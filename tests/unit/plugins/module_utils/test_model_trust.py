# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import manifests, model_trust
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

BY_KEY = {"type": "key", "bundle": "trust/m.sig", "key": "trust/m.pub"}
BY_CERTIFICATE = {
    "type": "certificate",
    "bundle": "trust/m.sig",
    "ca": "/srv/ca.pem",
    "identity": "release@models.example",
}


def test_both_kinds() -> None:
    assert model_trust.parse(BY_KEY, "x") == model_trust.Trust("key", "trust/m.sig", "trust/m.pub")
    trust = model_trust.parse({**BY_CERTIFICATE, "as_of": "2026-11-21"}, "x")
    assert (trust.anchor, trust.identity) == ("/srv/ca.pem", "release@models.example")
    assert trust.as_of == datetime.date(2026, 11, 21)
    as_yaml_has_it = {**BY_CERTIFICATE, "as_of": datetime.date(2026, 11, 21)}
    assert model_trust.parse(as_yaml_has_it, "x") == trust


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "type: the value is unknown"),
        ({**BY_KEY, "type": "sigstore"}, "type: the value is unknown: expected key or certificate"),
        ({**BY_KEY, "identity": "x"}, "the key 'identity' is unknown"),
        ({**BY_KEY, "key": None}, "the key 'key' is missing"),
        ({**BY_KEY, "bundle": 7}, "bundle: the value does not fit"),
        ({**BY_CERTIFICATE, "identity": None}, "the key 'identity' is missing"),
        ({**BY_CERTIFICATE, "as_of": "soon"}, "as_of: this is not a day: expected YYYY-MM-DD"),
    ],
)
def test_what_is_neither_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        model_trust.parse(value, "signature")


def test_the_catalog_is_refused_with_it() -> None:
    source = {"type": "file", "path": "/srv/m"}
    file = {"path": "m.gguf", "size": 1, "sha256": "a" * 64, "source": source}
    entry = {"revision": "1", "licence": "MIT", "files": [file]}
    assert manifests.validate_catalog({"small": {**entry, "signature": BY_KEY}}) == []
    (finding,) = manifests.validate_catalog({"small": {**entry, "signature": {"type": "none"}}})
    assert finding.startswith("airlock_models.small.signature.type: the value is unknown")
