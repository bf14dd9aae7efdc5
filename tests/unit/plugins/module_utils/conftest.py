# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that has models in the layouts of real hubs, over HTTPS on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.urls import open_url

TESTS = Path(__file__).resolve().parents[3]


@dataclass
class Hub:
    """The server: where its files are, its address, and what it was told to do wrong."""

    root: Path
    address: str
    facts: dict[str, Any]

    def ask(self, url: str, headers: Mapping[str, str]) -> Any:
        """Ask as the modules do."""
        certificate = str(self.root / "cert.pem")
        return open_url(
            url, headers=dict(headers), timeout=5, follow_redirects="none", ca_path=certificate
        )

    def breaks(self, path: str, **fault: Any) -> None:
        """Let the server do something wrong for ``path`` from now on."""
        (self.root / "faults.json").write_text(json.dumps({path: fault}))

    def asked(self) -> list[str]:
        """Return what was asked for since the last time, with the range."""
        log = self.root / "asked"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines


@pytest.fixture(scope="session")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-m", "corpus.hub", str(root), "serve"]
    with subprocess.Popen(command, cwd=TESTS) as server:
        try:
            facts = root / "facts.json"
            for _attempt in range(200):
                if facts.exists():
                    break
                time.sleep(0.05)
            found = json.loads(facts.read_bytes())
            yield Hub(root, found["address"], found)
        finally:
            server.kill()


@pytest.fixture
def hub(_hub: Hub) -> Hub:
    """Return the server, well and with nothing asked."""
    (_hub.root / "faults.json").unlink(missing_ok=True)
    _hub.asked()
    return _hub
