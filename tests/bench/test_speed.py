# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the house answers, through the front door and from this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import yaml

TOKENS = 48
# An empty lab on two slow cores makes more; below this, somebody waits for something.
LEAST_TOKENS_PER_SECOND = 2.0
MOST_SECONDS_TO_FIRST_TOKEN = 10.0


def test_the_speed_of_an_answer(site: Path, report: Callable[[str], None]) -> None:
    lab = yaml.safe_load((site / "group_vars" / "all" / "lab.yml").read_text())
    key = (site / "secrets" / "keys" / "workstation.key").read_text().strip()
    body = {
        "model": "chat",
        "messages": [{"role": "user", "content": "Tell a long story about a lighthouse."}],
        "max_tokens": TOKENS,
        "stream": True,
    }
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
    }
    connection = http.client.HTTPSConnection(
        lab["airlock_server_addresses"][0],
        8443,
        timeout=120,
        context=ssl.create_default_context(cafile=site / "pki" / "ca.pem"),
    )
    with contextlib.closing(connection):
        start = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        arrivals = [time.monotonic() for line in answer if line.startswith(b"data: {")]
    first, rate = arrivals[0] - start, (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    report(f"an answer: first piece after {first:.2f} s, then {rate:.1f} pieces a second")
    assert first <= MOST_SECONDS_TO_FIRST_TOKEN
    assert rate >= LEAST_TOKENS_PER_SECOND
