# SPDX-License-Identifier: GPL-3.0-or-later
"""Benches measure a lab that stands: AIRLOCK_SITE names its site directory, by default that of `make lab`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site() -> Path:
    return Path(os.environ.get("AIRLOCK_SITE", ".lab/site")).absolute()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure where it is seen whether the bench passes or not."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", flush=True)

    return say
