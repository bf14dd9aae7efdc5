# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller keeps of an audit trail, and how attacked copies of it fare."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils.audit_chain import Chain
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import audit_attacks
from ansible_collections.homelab.airlock.plugins.plugin_utils.audit_visits import Beginning, Visits

NOW = 1_795_255_200
BEGINS = Beginning(1, 2**30)
DAY = 86_400


def test_a_first_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    trail, key, before = Visits(tmp_path, "box").begin(NOW)
    assert (len(trail), len(key), before) == (16, 32, "none")
    file = tmp_path / "secrets/audit" / f"box.{trail}.key"
    assert Visits(tmp_path, "box").begun() == NOW
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert Visits(tmp_path, "box").first_key(trail) == key
    file.chmod(0o644)
    with pytest.raises(AirlockError, match="others can read"):
        Visits(tmp_path, "box").first_key(trail)


def test_a_first_key_is_encrypted_with_a_passphrase(tmp_path: Path) -> None:
    trail, key, _before = Visits(tmp_path, "box", "correct horse").begin(NOW)
    assert Visits(tmp_path, "box", "correct horse").first_key(trail) == key
    for wrong in ("", "battery staple"):
        with pytest.raises(AirlockError):
            Visits(tmp_path, "box", wrong).first_key(trail)


def test_two_trails_have_two_keys_and_the_older_is_no_longer_taken(tmp_path: Path) -> None:
    visits = Visits(tmp_path, "box")
    first, key, _before = visits.begin(NOW)
    visits.remember(first, 7, "a" * 64, NOW, BEGINS)
    second, other, before = visits.begin(NOW)
    assert key != other
    assert before == f"trail {first}, last seen at record 7"
    assert visits.first_key(second) == other
    for strange in (first, "0" * 16, ""):
        with pytest.raises(AirlockError, match="not the one that this controller began"):
            visits.first_key(strange)
    assert visits.heads(NOW) == []


def test_heads_are_remembered_forwards_only(tmp_path: Path) -> None:
    visits = Visits(tmp_path, "box")
    trail, _key, _before = visits.begin(NOW)
    visits.remember(trail, 7, "a" * 64, NOW - 91 * DAY, BEGINS)
    visits.remember(trail, 9, "b" * 64, NOW, BEGINS)
    visits.remember(trail, 8, "c" * 64, NOW, BEGINS)
    visits.remember("0" * 16, 99, "d" * 64, NOW, BEGINS)
    heads = [(head.seq, head.sha256[0], head.early) for head in visits.heads(NOW - 90 * DAY)]
    assert heads == [(7, "a", False), (9, "b", True)]


def test_the_beginning_is_that_of_the_last_visit(tmp_path: Path) -> None:
    visits = Visits(tmp_path, "box")
    trail, _key, _before = visits.begin(NOW)
    assert visits.beginning() == Beginning()
    visits.remember(trail, 9, "b" * 64, NOW, BEGINS)
    visits.remember(trail, 8, "c" * 64, NOW, Beginning(5, 2**31))
    assert visits.beginning() == Beginning(1, 2**30, 9), "an older visit says nothing"
    visits.remember(trail, 9, "b" * 64, NOW, Beginning(5, 2**31))
    assert visits.beginning() == Beginning(5, 2**31, 9)
    visits.begin(NOW)
    assert visits.beginning() == Beginning()


@pytest.mark.parametrize("trail", ["../x", 1, None])
def test_a_damaged_memory_is_refused(tmp_path: Path, trail: object) -> None:
    visits = Visits(tmp_path, "box")
    begun, _key, _before = visits.begin(NOW)
    known = f'"trail":"{begun}","heads":[],"before":[]'
    damaged = [f'{{{known},"beginning":{{"first":{first},"size":1}}}}' for first in (0, '"1"')]
    for text in ("{", "{}", f'{{"trail":"{trail}","heads":[],"before":[]}}', *damaged):
        (tmp_path / "state/box.audit.json").write_text(text)
        with pytest.raises(AirlockError):
            visits.first_key(begun)


def test_every_attack_on_a_copy_is_found() -> None:
    key = b"k" * 32
    chain = Chain(1, key)
    lines = [
        chain.extend({"kind": "done", "id": str(number)}, "2026-11-21T10:00:00.000Z")
        for number in range(50)
    ]
    for part in (lines, lines[20:40], lines[:4]):
        attacks = audit_attacks.attempt(part, key, 2**30)
        assert len(attacks) == 6
        assert [attack for attack in attacks if not attack["holds"]] == []
    assert audit_attacks.attempt(lines[:3], key, 2**30) == []
