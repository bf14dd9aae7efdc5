# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site directory: keys, locks and evidence of one house, on the controller."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import yaml


def check(site_dir: str) -> list[str]:
    """Return a finding when the directory lies in a collection, where an upgrade would delete it.

    A folder that ``build_ignore`` of a checkout keeps out of the artifact is no part of it.
    """
    path = Path(site_dir)
    if not path.is_absolute():
        return [f"airlock_site_dir: expected an absolute path, found {site_dir}."]
    inside = _collection_of(path) or _collection_of(path.resolve())
    if inside is None:
        return []
    return [
        f"airlock_site_dir: {site_dir} is inside the collection at {inside}, where an upgrade deletes "
        "it and a build publishes it; use a directory outside, like the one of your inventory."
    ]


def _collection_of(path: Path) -> Path | None:
    for parent in (path, *path.parents):
        if parent.parent.parent.name == "ansible_collections":
            return None if _ignored(parent, path) else parent
        if (parent / "MANIFEST.json").exists():
            return parent
        if (parent / "galaxy.yml").exists():
            return None if _ignored(parent, path) else parent
    return None


def _ignored(root: Path, path: Path) -> bool:
    try:
        patterns = yaml.safe_load((root / "galaxy.yml").read_text()).get("build_ignore", [])
    except (OSError, yaml.YAMLError, AttributeError):
        return False
    relative = path.relative_to(root).parts
    return bool(relative) and any(fnmatch.fnmatch(relative[0], str(item)) for item in patterns)
