# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter import model_catalog
from ansible_collections.homelab.airlock.plugins.module_utils import ledger, models_lock
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import signing
from ansible_collections.homelab.airlock.plugins.plugin_utils.model_files import ModelFiles, catalog
from ansible_collections.homelab.airlock.plugins.plugin_utils.progress import watching

TODAY = datetime.datetime.now(datetime.timezone.utc).date()
WAIVED = TODAY + datetime.timedelta(days=30)
WANTED = f"""
chat:
  source: {{type: https, url: https://a.example/m.gguf, sha256: {"a" * 64}}}
  revision: "1"
  licence: MIT
  why: a test
  waivers: [{{of: licence, reason: a test, until: {WAIVED}}}]
"""
FILE: dict[str, Any] = {
    "path": "m.gguf",
    "size": 7,
    "sha256": "a" * 64,
    "source": {"type": "file", "path": "/m"},
}


def test_what_is_kept_is_what_is_found_and_what_is_not_wanted_goes(tmp_path: Path) -> None:
    files = ModelFiles(str(tmp_path))
    assert (files.wanted(TODAY), files.locked()) == ({}, {})
    files.intent.write_text(WANTED)
    wanted = files.wanted(TODAY)
    entry = models_lock.entry(wanted["chat"], "a.example", [FILE])
    files.keep("gone", entry, {**wanted, "gone": wanted["chat"]})
    assert set(files.locked()) == {"gone"}
    files.keep("chat", entry, wanted)
    assert files.locked() == {"chat": entry}
    assert stat.S_IMODE(files.lock.stat().st_mode) == 0o644
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["models.lock.json", "models.yml", "state"]
    key, first, last = ledger.read(str(tmp_path / "state"))
    assert key["kind"] == "key-made"
    assert (first["kind"], first["subject"], last["subject"]) == ("pulled", "gone", "chat")
    assert last["result"]["files"] == {"m.gguf": "a" * 64}


@pytest.fixture
def kept(tmp_path: Path) -> ModelFiles:
    """Return the files of a site with a passphrase that has locked one model."""
    files = ModelFiles(str(tmp_path), "open sesame")
    files.intent.write_text(WANTED)
    wanted = files.wanted(TODAY)
    files.keep("chat", models_lock.entry(wanted["chat"], "a.example", [FILE]), wanted)
    return files


def edited(files: ModelFiles) -> None:
    files.lock.write_bytes(files.lock.read_bytes().replace(b"a" * 64, b"b" * 64))


def unsigned(files: ModelFiles) -> None:
    lock = json.loads(files.lock.read_bytes())
    del lock["envelope"]
    files.lock.write_text(json.dumps(lock))


def of_another_document(files: ModelFiles) -> None:
    """Sign the same with the same key, under the name of another document."""
    models = files.locked()
    key = signing.load(files.lock.parent / "state", "open sesame")
    envelope = signing.sign(models_lock.document(models), key, name="inference.lock.json")
    files.lock.write_bytes(models_lock.dumps(models, envelope))


def by_another_site(files: ModelFiles) -> None:
    models = files.locked()
    envelope = signing.sign(models_lock.document(models), signing.fresh(), name=files.lock.name)
    files.lock.write_bytes(models_lock.dumps(models, envelope))


def without_its_key(files: ModelFiles) -> None:
    (files.lock.parent / "state" / "signing.key").unlink()


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (edited, "models.lock.json is not what was signed"),
        (unsigned, "the lock of the models has no signature"),
        (of_another_document, "models.lock.json is not what was signed"),
        (by_another_site, "was not made by the signing key of this site"),
        (without_its_key, "the signing key of this site is gone; restore state/"),
    ],
)
def test_a_lock_that_this_site_did_not_sign_is_refused(
    kept: ModelFiles, attack: Callable[[ModelFiles], None], sentence: str
) -> None:
    join = model_catalog.FilterModule().filters()["model_catalog"]
    site = str(kept.lock.parent)
    attack(kept)
    with pytest.raises(AnsibleFilterError, match=sentence) as refusal:
        join({}, site, "open sesame")
    assert "\n" not in str(refusal.value)
    with pytest.raises(AirlockError, match=sentence):
        kept.keep("chat", {}, kept.wanted(TODAY))


def test_an_encrypted_key_needs_its_passphrase(kept: ModelFiles) -> None:
    assert set(catalog({}, str(kept.lock.parent), "open sesame")) == {"chat"}
    with pytest.raises(AirlockError, match="set airlock_signing_passphrase, in a vault file"):
        catalog({}, str(kept.lock.parent))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("chat: [", "models.yml: this cannot be read"),
        ("a: 1\na: 2\n", "the key 'a' appears twice"),
        ("- chat", "this is not a mapping of model names to entries"),
        ("chat: !!python/object/apply:os.system [id]", "this cannot be read"),
        ("chat: {}", "models.yml: chat: the key 'source' is missing"),
        ("Chat: {}", "the name does not fit"),
        ("\udcff", "this cannot be read"),
        ("chat: {until: 2026-02-30}", "this cannot be read"),
        (WANTED.replace(str(WAIVED), "2026-11-20"), "the waiver of the licence expired"),
    ],
)
def test_a_malformed_catalog_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "models.yml").write_text(text, errors="surrogateescape")
    with pytest.raises(AirlockError, match=sentence) as refusal:
        ModelFiles(str(tmp_path)).wanted(TODAY)
    assert "\n" not in str(refusal.value)


def test_the_filter_joins_and_refuses(tmp_path: Path) -> None:
    join = model_catalog.FilterModule().filters()["model_catalog"]
    assert join({"small": {}}, str(tmp_path)) == {"small": {}}
    (tmp_path / "models.yml").write_text("[]")
    with pytest.raises(AnsibleFilterError, match="this is not a mapping"):
        join({}, str(tmp_path))


def test_a_long_fetch_says_how_far_it_is_and_a_short_one_nothing(tmp_path: Path) -> None:
    (tmp_path / "sha256-of-another-model").write_bytes(bytes(4096))
    said: list[str] = []
    with watching(str(tmp_path), 2048, said.append, interval=0.02):
        (tmp_path / ".fetch-x").mkdir()
        (tmp_path / ".fetch-x" / "part").write_bytes(bytes(1024))
        deadline = time.monotonic() + 5
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    assert said[0].startswith("Fetched 1.0 KiB of 2.0 KiB (50 %), ")
    quiet: list[str] = []
    with watching(str(tmp_path), 0, quiet.append):
        pass
    assert quiet == []
