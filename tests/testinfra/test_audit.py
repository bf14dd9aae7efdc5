# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit trail on a real host: what happens when the gatekeeper dies, and when nothing can be recorded."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from .conftest import JSON, SSH_CONFIG, STORY, Api, Play

TRAIL = "/var/log/airlock/audit/audit.jsonl"
METRICS = "/run/airlock/metrics/gatekeeper.sock"


def records(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.file(TRAIL).content_string.splitlines()]


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.3)
    return condition()


def test_a_gatekeeper_that_is_killed_over_an_answer_leaves_it_on_record(
    inference: Host, api: Api
) -> None:
    before = len(records(inference))
    curl = ["curl", "--silent", "--no-buffer", "--header", "@api.header", *JSON, json.dumps(STORY)]
    command = shlex.join([*curl, f"{api.url}/v1/chat/completions"])
    with subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "client", command], stdout=subprocess.PIPE
    ) as story:
        assert story.stdout is not None
        assert story.stdout.readline()
        inference.check_output("systemctl kill --signal=KILL airlock-gatekeeper.service")
        story.stdout.read()
    assert eventually(lambda: any(r["kind"] == "lost" for r in records(inference)[before:]))
    new = records(inference)[before:]
    opened = {record["id"] for record in new if record["kind"] == "open"}
    assert {record["id"] for record in new if record["kind"] == "lost"} == opened
    assert eventually(lambda: api.ask("/v1/models").status == 200)


@pytest.fixture
def without_writer(inference: Host) -> Iterator[None]:
    inference.check_output("systemctl stop airlock-audit.socket airlock-audit.service")
    yield
    inference.check_output("systemctl start airlock-audit.socket airlock-audit.service")


def test_without_the_writer_nothing_is_served(
    inference: Host, api: Api, without_writer: None
) -> None:
    before = len(records(inference))
    for answer in (api.chat("hello", max_tokens=2), api.ask("/v1/models")):
        assert (answer.status, answer.json()["error"]["code"]) == (503, "not_audited")
    assert len(records(inference)) == before
    assert "airlock_audit_up 0" in scraped(inference)


def test_with_the_writer_it_goes_on_and_says_what_was_missed(inference: Host, api: Api) -> None:
    assert eventually(lambda: api.ask("/v1/models").status == 200)
    missed = [record for record in records(inference) if record["kind"] == "missed"]
    assert missed[-1]["requests"] >= 2
    assert "airlock_audit_up 1" in scraped(inference)


def scraped(host: Host) -> str:
    command = "curl --silent --unix-socket %s http://gatekeeper/metrics"
    return str(host.check_output(command, METRICS))


def test_the_controller_proves_it_and_shows_who_asked(play: Play, site: Path) -> None:
    shown = play("audit", {"show": 5})
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "are one chain" in " ".join(shown.stdout.split())
    memory = json.loads((site / "state/inference.audit.json").read_text())
    assert memory["heads"]
    key = site / f"secrets/audit/inference.{memory['trail']}.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_an_edited_trail_is_refused_until_it_is_put_back(inference: Host, play: Play) -> None:
    inference.check_output(
        "systemctl stop airlock-gatekeeper.service airlock-audit.socket airlock-audit.service"
    )
    inference.check_output(f"cp --archive {TRAIL} /root/trail")
    try:
        inference.check_output(f'sed -i \'3s/"kind":"[a-z]*"/"kind":"never"/\' {TRAIL}')
        shown = play("audit", {})
        assert shown.returncode != 0
        said = " ".join(shown.stdout.split())
        assert "was not written by the writer of this trail" in said
    finally:
        inference.check_output(f"mv /root/trail {TRAIL}")
        inference.check_output(
            "systemctl start airlock-audit.socket airlock-audit.service airlock-gatekeeper.service"
        )
    assert play("audit", {}).returncode == 0
