# SPDX-License-Identifier: GPL-3.0-or-later
"""The file system that is tampered with: ext4 on a loop device, made once and copied for each attack."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from ansible_collections.homelab.airlock.tests.tamper.house import House  # noqa: E402

SIZE = 8 * 1024 * 1024


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-page", action="store_true", help="write docs/tamper-matrix.md anew")


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image with an empty ext4 file system."""
    path = tmp_path_factory.mktemp("image") / "ext4"
    with path.open("wb") as image:
        image.truncate(SIZE)
    command = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def build(tmp_path: Path, blank: Path) -> Iterator[Callable[[], House]]:
    """Return a function that builds a house on a file system of its own."""
    houses: list[House] = []

    def make() -> House:
        work = tmp_path / str(len(houses))
        work.mkdir()
        image = work / "image"
        shutil.copyfile(blank, image)
        houses.append(House(work, image))
        return houses[-1]

    yield make
    for house in houses:
        house.close()
