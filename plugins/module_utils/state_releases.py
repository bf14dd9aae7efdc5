# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases part of an observation: what only waits in a slot is not what the host is.

A host that was rebuilt from its intent has current releases and no others; what a release or a
rollback has left in ``previous`` and ``fallback`` would make it differ for good.
"""

from __future__ import annotations

from typing import Any

from . import manifests, releases_slots
from .files import read_limited
from .releases import LaunchConfig, files_of, unit_of

NOT_COVERED = {
    "releases that wait in previous, fallback and canary": "a rebuilt host has none; before one "
    "starts, the load gate measures its model"
}
# [Install] of airlock-runtime@.service
_WANTED_BY = ("multi-user.target", "airlock-egress.service")
_LIMIT = 16 * 1024 * 1024


def without_waiting(state: dict[str, Any], root: str) -> dict[str, Any]:
    """Return ``state`` without the units, files and models that only waiting releases need.

    ``root`` is "/" on a real host. Raises AirlockError and OSError.
    """
    base = root.rstrip("/")
    slots = releases_slots.load(base + releases_slots.PATH)
    current = {entry["current"] for entry in slots.values()}
    waiting = set(releases_slots.pointed(slots)) - current
    models, paths = needs(waiting, base)
    kept_models, kept_paths = needs(current, base)
    gone = paths - kept_paths
    return {
        **state,
        "units": _without(state["units"], {unit_of(release) for release in waiting}),
        "files": {
            path: facts
            for path, facts in state["files"].items()
            if not any(path == each or path.startswith(f"{each}/") for each in gone)
        },
        "models": _without(state["models"], models - kept_models),
    }


def traces(slots: releases_slots.Slots) -> list[str]:
    """Return units, paths and names in the store of every release that a slot points to."""
    releases = set(releases_slots.pointed(slots))
    models, paths = needs(releases)
    return sorted({*models, *paths, *map(unit_of, releases)})


def needs(releases: set[str], base: str = "") -> tuple[set[str], set[str]]:
    """Return the names in the store and the paths of everything that ``releases`` need.

    Raises AirlockError and OSError.
    """
    models: set[str] = set()
    paths: set[str] = set()
    for release in releases:
        config, manifest, dropin = files_of(release)
        paths |= {config, manifest, dropin.rpartition("/")[0]}
        paths |= {f"/etc/systemd/system/{by}.wants/{unit_of(release)}" for by in _WANTED_BY}
        try:
            launch = LaunchConfig.parse(read_limited(base + config, _LIMIT), config)
            model = manifests.parse(read_limited(base + manifest, _LIMIT), manifest)
        except FileNotFoundError:
            continue
        paths |= {launch.runtime, f"{manifests.MANIFESTS}/{model.name}.json"}
        models |= {file.stored.rpartition("/")[2] for file in model.files}
    return models, paths


def _without(entries: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: facts for name, facts in entries.items() if name not in names}
