# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``import ansible_collections.homelab.airlock`` mean this clone, whatever its folder is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis.configuration import set_hypothesis_home_dir

ROOT = Path(__file__).resolve().parents[2]


def _collections_root() -> Path:
    """Return the folder that holds ``ansible_collections``: above a real tree, or one with a link."""
    if ROOT.parts[-3:] == ("ansible_collections", "homelab", "airlock"):
        return ROOT.parents[2]
    tree = ROOT / ".build" / "collections"
    link = tree / "ansible_collections" / "homelab" / "airlock"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.unlink(missing_ok=True)  # it pointed to where the clone stood before
        link.symlink_to(ROOT)
    return tree


# ansible-test brings a finder of its own; a second one would be refused.
if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
    _AnsibleCollectionFinder(paths=[str(_collections_root())])._install()

# No deadline, because a busy machine is not a bug; in CI always the same examples, because a surprise
# belongs to whoever can look into it.
set_hypothesis_home_dir(ROOT / ".build" / "hypothesis")
hypothesis.settings.register_profile("airlock", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("airlock")
