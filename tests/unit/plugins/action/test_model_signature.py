# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from ansible_collections.homelab.airlock.plugins.action import model_signature
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_signatures
from ansible_collections.homelab.airlock.tests.unit.plugins.plugin_utils import publisher

KEY, ROOT = publisher.key(), publisher.key()
LEAF = publisher.certificate("release", KEY, "root", ROOT)
ROOT_CERTIFICATE = publisher.certificate("root", ROOT, "root", ROOT, authority=True)
BY_KEY = {"type": "key", "bundle": "trust/m.sig", "key": "trust/m.pub"}
BY_CERTIFICATE = {
    "type": "certificate",
    "bundle": "trust/c.sig",
    "ca": "trust/ca.pem",
    "identity": "release@models.example",
}


def models(signature: dict[str, Any] | None, **files: str) -> dict[str, Any]:
    return {
        "small": {
            "revision": "1",
            "licence": "MIT",
            "files": [
                {
                    "path": path,
                    "size": 1,
                    "sha256": digest,
                    "source": {"type": "file", "path": "/m"},
                }
                for path, digest in {**publisher.FILES, **files}.items()
            ],
            "signature": signature,
        },
        "unsigned": {
            "revision": "1",
            "licence": "MIT",
            "files": [
                {
                    "path": "m",
                    "size": 1,
                    "sha256": "c" * 64,
                    "source": {"type": "file", "path": "/m"},
                }
            ],
        },
    }


@pytest.fixture
def site(tmp_path: Path) -> Path:
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "m.sig").write_text(json.dumps(publisher.bundle(KEY)))
    (trust / "m.pub").write_bytes(publisher.pem(KEY))
    material = publisher.chain(LEAF)
    (trust / "c.sig").write_text(json.dumps(publisher.bundle(KEY, material=material)))
    (trust / "ca.pem").write_bytes(ROOT_CERTIFICATE.public_bytes(serialization.Encoding.PEM))
    return tmp_path


def run(site: Path, catalog: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = {"site_dir": str(site), "models": catalog, "names": ["small", "unsigned"], **more}
    return model_signature._run({"attack": False, **wanted})


def test_signed_models_are_named_and_others_passed_over(site: Path) -> None:
    result = run(site, models(BY_KEY))
    (signature,) = result["signatures"]
    assert (signature["model"], signature["type"], result["changed"]) == ("small", "key", False)
    assert run(site, models(None))["signatures"] == []


def test_a_certificate_of_the_day_that_the_owner_names(site: Path) -> None:
    (signature,) = run(site, models({**BY_CERTIFICATE, "as_of": "2026-11-21"}))["signatures"]
    assert signature["identity"] == "release@models.example"
    assert signature["as_of"] == "2026-11-21"
    with pytest.raises(AirlockError, match="expected valid on 2031-01-01"):
        run(site, models({**BY_CERTIFICATE, "as_of": datetime.date(2031, 1, 1)}))


def test_a_file_more_is_refused(site: Path) -> None:
    with pytest.raises(AirlockError, match=r"did not sign this model: \.git/config"):
        run(site, models(BY_KEY, **{".git/config": "0" * 64}))


def test_the_attack_is_refused(site: Path) -> None:
    attack = run(site, models(BY_KEY), attack=True)["attack"]
    assert attack["holds"]
    assert ".git/config" in attack["observed"]
    assert "attack" not in run(site, models(None), attack=True)


def test_an_attack_that_gets_through_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_signatures.model_signing, "refuse_difference", lambda *_args: None)
    assert not run(site, models(BY_KEY), attack=True)["attack"]["holds"]


def test_a_missing_file_is_named(site: Path) -> None:
    (site / "trust" / "m.pub").unlink()
    with pytest.raises(AirlockError, match=r"signature: .*/trust/m\.pub: the file cannot be read"):
        run(site, models(BY_KEY))
