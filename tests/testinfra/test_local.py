# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs on the host itself are clients, and at the level `local` the only ones."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import JSON, SSH_CONFIG, STORY, Answer, Api, Play

HERE = ("http://127.0.0.1:8443", "http://[::1]:8443")
NOBODY_THERE = 7  # curl: connection refused


def ask_there(url: str, *options: str, key: str = "") -> Answer:
    """Ask from the inference host; the key goes through standard input, where no journal sees it."""
    shown = ["--header", "@-"] if key else []
    command = ["curl", "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", *shown]
    done = subprocess.run(
        ["ssh", "-F", str(SSH_CONFIG), "inference", shlex.join([*command, *options, url])],
        input=f"Authorization: Bearer {key}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    text, _line_end, status = done.stdout.rpartition("\n")
    return Answer(done.returncode, int(status or 0), text)


def test_a_program_on_the_host_is_a_client(api: Api) -> None:
    assert ask_there(f"{api.url}/v1/models", "--insecure", key=api.key).status == 200
    assert ask_there(f"{api.url}/v1/models", "--insecure").status == 401


@pytest.fixture
def local(site: Path, play: Play) -> Iterator[None]:
    """Have the house at its lowest level; in the end it is what it was."""
    overlay = site / "group_vars/all/level.yml"
    overlay.write_text(json.dumps({"airlock_exposure": "local"}))
    try:
        done = play("site", {}, "--tags=pki,gateway")
        assert done.returncode == 0, done.stdout
        yield
    finally:
        overlay.unlink()
        back = play("site", {}, "--tags=pki,gateway")
    assert back.returncode == 0, back.stdout


@pytest.mark.usefixtures("local")
def test_at_the_lowest_level_nobody_else_is(api: Api) -> None:
    for url in HERE:
        assert ask_there(f"{url}/v1/models", key=api.key).status == 200
        assert ask_there(f"{url}/v1/models").status == 401
    told = ask_there(
        f"{HERE[0]}/v1/chat/completions",
        *JSON,
        json.dumps({**STORY, "max_tokens": 20}),
        key=api.key,
    )
    assert told.status == 200
    assert told.text.rstrip().endswith("data: [DONE]")
    assert api.ask("/v1/models").rc == NOBODY_THERE
    assert api.ask("/v1/models", url=f"http://{api.address}:8443").rc == NOBODY_THERE
