# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the roles, run and loaded with the library as the zipapp that hosts have."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils import zipapp

ROOT = Path(__file__).parents[3]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the zipapp."""
    path = tmp_path_factory.mktemp("lib") / "airlock.pyz"
    path.write_bytes(zipapp.build("airlock", ROOT / "plugins" / "module_utils"))
    return str(path)


@pytest.fixture
def run(library: str) -> Run:
    """Return a function that runs a program of a role with arguments."""

    def program(path: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / path), *map(str, arguments)],
            env={"PYTHONPATH": library},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,  # the exit status is what the tests look at
        )

    return program


@pytest.fixture
def load(library: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that loads a program without running it."""
    monkeypatch.syspath_prepend(library)

    def program(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
        spec.loader.exec_module(module)
        return module

    return program
