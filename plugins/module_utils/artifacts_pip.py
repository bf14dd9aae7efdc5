# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels from the Python package index, by pip."""

from __future__ import annotations

import re

from .artifacts import Artifact, Source
from .artifacts_copy import wrong_digest
from .errors import AirlockError


def arguments(source: Source, requirements: str, directory: str) -> list[str]:
    """Return the arguments of ``pip download`` for one wheel, never building or resolving anything.

    pip documentation, "pip download": --platform and its companions need --only-binary=:all:.
    """
    tags = {"platform": "--platform", "python": "--python-version"}
    chosen = [
        part
        for tag, value in sorted(source.tags.items())
        for part in (tags.get(tag, f"--{tag}"), value)
    ]
    return [
        "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--requirement", requirements,
        "--dest", directory, *chosen,
    ]  # fmt: skip


def requirement(source: Source) -> str:
    """Return the line of a requirements file that pins the wheel by version and digest."""
    return f"{source.location}=={source.version} --hash=sha256:{source.sha256}\n"


def explain(output: str, artifact: Artifact) -> AirlockError:
    """Turn what a failed ``pip download`` printed into one refusal."""
    source = artifact.source
    got = re.search(r"Got\s+([0-9a-f]{64})", output)
    if got:
        return wrong_digest(artifact.name, source.download, source.sha256, got.group(1))
    if "No module named pip" in output:
        return AirlockError.refuse(
            "the controller's Python has no pip",
            where=artifact.name,
            fix="install python3-pip there",
        )
    lines = [
        line for line in output.splitlines() if line.startswith("ERROR:")
    ] or output.splitlines()
    return AirlockError.refuse(
        f"pip could not download {source.download}",
        found=lines[-1].removeprefix("ERROR:").strip() if lines else "no explanation",
        where=artifact.name,
        fix="check the catalog entry and the controller's way to the package index",
    )
