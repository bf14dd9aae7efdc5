# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on a site as its owner has it: what stands in the clear or opens nothing is refused, in check mode, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Play

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/homelab/group_vars/all/airlock.yml"
PLANTED = "correct horse battery"
VAULTED = "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3630\n"
INTENT = {
    "ansible.builtin.include_role": {"name": "homelab.airlock.preflight", "tasks_from": "intent"}
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the variables of a site, beside the inventory that ``play`` writes."""
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (folder / "airlock.yml").write_text(EXAMPLE.read_text())
    return folder


def test_the_example_passes_with_a_vaulted_passphrase(play: Play, site: Path) -> None:
    (site / "secret.yml").write_text(f"house_secret: {VAULTED}")
    done = play(tasks=[INTENT])
    assert done.returncode == 0, done.stdout


def test_a_passphrase_in_the_clear_and_a_misspelled_route_are_refused(
    play: Play, site: Path
) -> None:
    secret = site / "secret.yml"
    secret.write_text(f"---\nairlock_ca_passphrase: {PLANTED}\n")
    (site / "keys.yml").write_text(
        "airlock_api_keys: {agent: {services: [chat], routes: [/v1/chat/completion]}}\n"
    )
    done = play("--check", "--diff", tasks=[INTENT], vars={"airlock_site_dir": "/nonexistent"})
    assert done.returncode != 0
    assert f"{secret}, line 2: airlock_ca_passphrase is in the clear here" in done.stdout
    assert "no service has the route /v1/chat/completion; did you mean" in done.stdout
    assert PLANTED not in done.stdout + done.stderr
