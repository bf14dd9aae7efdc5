# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that people have, unchanged, through the real edge and the real gatekeeper."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.tests.unit.plugins.module_utils import streams_of

from . import edge as edges
from .conftest import ROOT, House, reply
from .test_dialects import every_dialect, in_pieces

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is missing"),
    pytest.mark.usefixtures("every_dialect"),
]
ollama = pytest.importorskip("ollama")

__all__ = ["every_dialect"]
PIECES = ["Good", " morning", ", ", "Ann."]


@pytest.fixture
def edge(house: House) -> Iterator[edges.Edge]:
    """The edge in front of a house whose runtime streams what the test wants."""
    with edges.running(house) as running:
        yield running


def streaming(house: House, dialect: str) -> None:
    data = streams_of.stream(dialect, streams_of.CONTENT, [PIECES])
    house.runtime.behave = in_pieces(dialect, data)


@pytest.fixture
def client(edge: edges.Edge) -> Iterator[Any]:
    """The client of the package, as the example makes it."""
    with ollama.Client(
        host=edge.url,
        headers={"Authorization": f"Bearer {edge.house.key}"},
        verify=ssl.create_default_context(cafile=str(edge.authority)),
    ) as client:
        yield client


def test_the_example_for_ollama_says_what_the_model_said(edge: edges.Edge, tmp_path: Path) -> None:
    streaming(edge.house, dialects.OLLAMA_CHAT)
    (tmp_path / "api.key").write_text(f"{edge.house.key}\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/clients/ollama_client.py")],
        env={
            **os.environ,
            "AIRLOCK_URL": edge.url,
            "AIRLOCK_CA": str(edge.authority),
            "AIRLOCK_KEY": str(tmp_path / "api.key"),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "".join(PIECES) + "\n"), done.stderr


def test_ollama_generates_as_a_stream_and_as_a_whole(house: House, client: Any) -> None:
    streaming(house, dialects.OLLAMA_GENERATE)
    parts = list(client.generate(model="chat", prompt="x", stream=True))
    assert "".join(part.response for part in parts) == "".join(PIECES)
    assert parts[-1].done
    house.runtime.behave = lambda handler: reply(
        handler, {"model": "m", "done": True, "done_reason": "stop", "response": "Good morning."}
    )
    assert client.generate(model="chat", prompt="x").response == "Good morning."


def test_ollama_reads_why_it_was_refused(client: Any) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model="unheard", messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == 404
    assert "no such model" in caught.value.error
