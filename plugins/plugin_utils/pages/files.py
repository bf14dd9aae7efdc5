# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files below evidence/ of a site directory that the pages are made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...module_utils import canonical
from ...module_utils.errors import AirlockError
from ...module_utils.files import read_limited


def evidence(site_dir: Path) -> list[dict[str, Any]]:
    """Return the evidence of every host. Raises AirlockError for a damaged file."""
    return [
        document
        for path in sorted((site_dir / "evidence").glob("*.json"))
        if not path.name.startswith(".") and "records" in (document := _load(path))
    ]


def surveys(site_dir: Path) -> dict[str, dict[str, Any]]:
    """Return host to its first (``before``) and its ``latest`` survey."""
    latest = {
        path.name[len("survey-") : -len(".json")]: path
        for path in sorted((site_dir / "evidence").glob("survey-*.json"))
        if not path.name.endswith(".before.json")
    }
    return {
        host: {"latest": _load(path), "before": _load(path.with_suffix(".before.json"))}
        for host, path in latest.items()
    }


def survey(site_dir: Path, host: str) -> dict[str, Any]:
    """Return the latest survey of one host. Raises AirlockError when there is none."""
    path = site_dir / "evidence" / f"survey-{host}.json"
    if not path.exists():
        raise AirlockError.refuse(
            f"{host} has not been surveyed", where=str(path), fix="run survey.yml first"
        )
    return _load(path)


def _load(path: Path) -> dict[str, Any]:
    document = canonical.parse(read_limited(str(path), canonical.MAX_BYTES), where=str(path))
    if not isinstance(document, dict):
        raise AirlockError.refuse(
            "this is no evidence", expected="a JSON object", where=str(path), fix="remove the file"
        )
    return document
