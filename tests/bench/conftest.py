# SPDX-License-Identifier: GPL-3.0-or-later
"""Benches measure a lab that stands: AIRLOCK_SITE names its site directory, by default that of `make lab`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site() -> Path:
    return Path(os.environ.get("AIRLOCK_SITE", ".lab/site")).absolute()
