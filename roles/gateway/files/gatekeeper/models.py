# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model a release has, from its manifest."""

from __future__ import annotations

import contextlib
from pathlib import Path

from airlock import manifests
from airlock.errors import AirlockError
from airlock.files import read_limited

_LIMIT = 16 * 1024 * 1024
_UNKNOWN = (None, None)

Named = tuple["str | None", "str | None"]


class Models:
    """Reads each manifest once: a release never changes."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._known: dict[str, Named] = {}

    def of(self, release: str) -> Named:
        """Return name of the model and SHA-256 of its manifest, None for both when it cannot be read."""
        if release not in self._known:
            path = str(self._directory / f"{release}.manifest.json")
            with contextlib.suppress(AirlockError, OSError):
                manifest = manifests.parse(read_limited(path, _LIMIT), path)
                self._known[release] = manifest.name, manifest.digest
        return self._known.get(release, _UNKNOWN)
