# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils import site, zipapp


def test_a_site_of_its_own_is_fine(tmp_path: Path) -> None:
    assert site.check(str(tmp_path / "site")) == []


@pytest.mark.parametrize("below", ["", "playbooks", "examples/homelab"])
def test_a_site_inside_a_collection_is_refused(tmp_path: Path, below: str) -> None:
    root = tmp_path / "ansible_collections" / "homelab" / "airlock"
    root.mkdir(parents=True)
    assert "is inside the collection" in site.check(str(root / below))[0]


def test_a_site_inside_a_checkout_is_refused_unless_it_is_never_built(tmp_path: Path) -> None:
    (tmp_path / "galaxy.yml").write_text("build_ignore: [.lab]\n")
    assert "is inside the collection" in site.check(str(tmp_path / "mine"))[0]
    assert site.check(str(tmp_path / ".lab" / "site")) == []


def test_a_link_into_a_collection_is_seen_through(tmp_path: Path) -> None:
    root = tmp_path / "ansible_collections" / "homelab" / "airlock"
    root.mkdir(parents=True)
    (tmp_path / "site").symlink_to(root)
    assert site.check(str(tmp_path / "site"))


def test_a_relative_path_is_refused() -> None:
    assert "absolute" in site.check("site")[0]


def test_equal_sources_give_equal_archives(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("x = 1\n")
    (tmp_path / "a.py").write_text("from .b import x\n")
    first = zipapp.build("airlock", tmp_path)
    (tmp_path / "a.py").touch()
    assert zipapp.build("airlock", tmp_path) == first
