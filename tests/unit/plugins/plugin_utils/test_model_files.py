# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.filter import model_catalog
from ansible_collections.homelab.airlock.plugins.module_utils import models_lock
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.model_files import ModelFiles
from ansible_collections.homelab.airlock.plugins.plugin_utils.progress import watching

TODAY = datetime.date(2026, 11, 21)
WANTED = """
chat:
  source: {type: https, url: https://a.example/m.gguf, sha256: %s}
  revision: "1"
  licence: MIT
  why: a test
  waivers: [{of: licence, reason: a test, until: 2026-11-21}]
""" % ("a" * 64)
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
    files.lock.write_bytes(models_lock.dumps({"gone": entry}))
    files.keep("chat", entry, wanted)
    assert files.locked() == {"chat": entry}
    assert stat.S_IMODE(files.lock.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.lock.json", "models.yml"]


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
        (WANTED.replace("2026-11-21", "2026-11-20"), "the waiver of the licence expired"),
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
