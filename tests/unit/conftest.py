# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``import ansible_collections.homelab.airlock`` mean this clone, whatever its folder is called, and runs parts
of its playbooks on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis.configuration import set_hypothesis_home_dir

ROOT = Path(__file__).resolve().parents[2]


def _collections_root() -> Path:
    """Return the folder that holds ``ansible_collections``: above a real tree, or one with a link."""
    if ROOT.parts[-3:] == ("ansible_collections", "homelab", "airlock"):
        return ROOT.parents[2]
    tree = ROOT / ".build" / "collections"
    link = tree / "ansible_collections" / "homelab" / "airlock"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.unlink(missing_ok=True)  # it pointed to where the clone stood before
        link.symlink_to(ROOT)
    return tree


# ansible-test brings a finder of its own; a second one would be refused.
if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
    _AnsibleCollectionFinder(paths=[str(_collections_root())])._install()

# No deadline, because a busy machine is not a bug; in CI always the same examples, because a surprise
# belongs to whoever can look into it.
set_hypothesis_home_dir(ROOT / ".build" / "hypothesis")
hypothesis.settings.register_profile("airlock", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("airlock")


_OURS = os.getpid()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Where each test has a process of its own, as in ansible-test, tear everything down: no other test will.

    Servers of a module's fixtures would be left behind, one set for each of its tests.
    """
    if os.getpid() != _OURS:
        item.session._setupstate.teardown_exact(None)


def _program(name: str) -> Path:
    """Return a program of the virtual environment that these tests run in, or that of ansible-test was made from."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    return Path(found or shutil.which(name) or name)


Play = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return what runs one play, for ``localhost`` unless it names other hosts of ``inventory``."""

    def run(
        *arguments: str, inventory: str = "", **content: Any
    ) -> subprocess.CompletedProcess[str]:
        local = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
        (tmp_path / "hosts").write_text(inventory or local)
        (tmp_path / "ansible.cfg").write_text("[defaults]\n")
        document = {"hosts": "localhost", "gather_facts": False, **content}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([document]))
        # ansible-test has others in PYTHONPATH, without the programs.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(_program("ansible-playbook")), "-i", "hosts", "play.yml", *arguments],
            cwd=tmp_path,
            env={
                **inherited,
                "ANSIBLE_NOCOWS": "1",
                "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(_collections_root()),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
