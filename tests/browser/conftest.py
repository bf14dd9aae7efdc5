# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts a real browser for the tests of the pages."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The unit tests say how this clone becomes importable as a collection.
runpy.run_path(str(ROOT / "tests" / "unit" / "conftest.py"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that runs headless Chromium on a file and returns its standard output."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "chromium is missing: apt-get install --no-install-recommends chromium fonts-dejavu-core"
        )

    def run(page: Path, *flags: str) -> str:
        command = [
            program,
            "--headless",
            "--no-sandbox",  # CI runs as root, where Chromium refuses its sandbox
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
            *flags,
            page.as_uri(),
        ]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    return run
