# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on real hosts: a second model is released, rolled back and damaged, while clients ask."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from .conftest import JSON, SSH_CONFIG, STORY, Api, Play
from .variant import flip, make_variant

SLOTS = "/etc/airlock/gateway/slots.json"
AUDIT = "/var/log/airlock/audit/audit.jsonl"
PLAY_SECONDS = 240


def chat_slots(host: Host) -> dict[str, Any]:
    return dict(json.loads(host.file(SLOTS).content_string)["services"]["chat"])


def last_audit(host: Host, **wanted: str) -> dict[str, Any]:
    """Return the last request of the audit trail that is over and has ``wanted``."""
    wanted["kind"] = "done"
    lines = host.run(f"tail -n 100 {AUDIT}").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [line for line in found if wanted.items() <= line.items()][-1]


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def variant(
    site: Path,
    intent: dict[str, Any],
    inference: Host,
    play: Play,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """Put another model into the catalog; in the end the first one is current and the host in its lock."""
    (first,) = intent["airlock_models"][intent["airlock_services"]["chat"]["model"]]["files"]
    file = tmp_path_factory.mktemp("variant") / "variant.gguf"
    make_variant(site / "cache" / f"sha256-{first['sha256']}", file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = {
        "path": file.name,
        "size": file.stat().st_size,
        "sha256": digest,
        "source": {"type": "file", "path": str(file)},
    }
    models = {"variant": {"revision": "1", "licence": "Apache-2.0", "files": [entry]}}
    catalog = site / "group_vars" / "all" / "variant.yml"
    catalog.write_text(yaml.safe_dump({"airlock_models": intent["airlock_models"] | models}))
    before = chat_slots(inference)["current"]
    yield Path("/var/lib/airlock/store") / f"sha256-{digest}"
    catalog.unlink()
    if chat_slots(inference)["current"] != before:
        succeeded(play("rollback", {"service": "chat", "reason": "end of the tests"}))
    assert chat_slots(inference)["current"] == before
    succeeded(play("site", {"airlock_relock": True, "reason": "end of the tests"}))
    # From here on this is a host of one release again; what follows compares it with its lock.
    (site / "cache" / f"sha256-{digest}").unlink(missing_ok=True)


def test_a_release_is_asked_before_anybody_else_can_ask_it(
    variant: Path, site: Path, inference: Host, play: Play, api: Api, intent: dict[str, Any]
) -> None:
    before = chat_slots(inference)
    predicted = succeeded(play("release", {"service": "chat", "model": "variant"}, "--check"))
    assert "failed=0" in predicted
    assert chat_slots(inference) == before
    succeeded(play("release", {"service": "chat", "model": "variant"}))
    after = chat_slots(inference)
    assert after["previous"] == before["current"]
    assert (after["canary"], after["standin"]) == (None, None)
    record = json.loads((site / "evidence/releases" / f"{after['current']}.json").read_text())
    assert record["record"]["verdict"] == "green"
    assert record["record"]["digest"].startswith(after["current"][-8:])
    assert sum(item["id"].startswith("safety/") for item in record["record"]["results"]) == 10
    asked = last_audit(inference, key="0-evaluation")
    assert (asked["service"], asked["slot"]) == ("chat@canary", "canary")
    assert not inference.file("/etc/airlock/gateway/evaluation.json").exists
    assert not list((site / "secrets").glob("evaluation*"))
    # An ordinary key never opens the name under which it was asked.
    assert api.ask("/v1/chat/completions", {**STORY, "model": "chat@canary"}).status == 404
    assert api.chat("Hello.", max_tokens=4).status == 200
    assert last_audit(inference, service="chat")["slot"] == "current"


def test_a_rollback_is_quick_and_breaks_no_answer(
    variant: Path, site: Path, inference: Host, play: Play, api: Api
) -> None:
    old = chat_slots(inference)
    succeeded(play("rollback", {"service": "chat"}, "--check"))
    assert chat_slots(inference) == old
    why = json.dumps({"service": "chat", "reason": "worse answers"})
    curl = ["curl", "--silent", "--show-error", "--no-buffer", "--max-time", "900"]
    curl += ["--header", "@api.header", *JSON, json.dumps(STORY)]
    command = shlex.join([*curl, f"{api.url}/v1/chat/completions"])
    with subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "client", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,  # ssh makes it non-blocking, which Ansible would refuse
        text=True,
    ) as stream:
        assert stream.stdout is not None
        first = stream.stdout.readline()
        started = time.monotonic()
        rollback = subprocess.Popen(
            [
                "ansible-playbook",
                "-i",
                str(site / "inventory.yml"),
                "homelab.airlock.rollback",
                "-e",
                why,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while chat_slots(inference)["current"] == old["current"]:
            assert time.monotonic() - started < PLAY_SECONDS
            time.sleep(0.2)
        assert stream.poll() is None, "the answer was over before the switch; ask for a longer one"
        assert api.chat("Hello.", max_tokens=4).status == 200
        assert last_audit(inference, service="chat")["release"] == old["previous"]
        rest = stream.stdout.read()
        assert stream.wait() == 0
    said, _err = rollback.communicate()
    assert rollback.returncode == 0, said
    events = [line for line in (first + rest).splitlines() if line]
    assert events[-1] == "data: [DONE]"
    documents = [json.loads(line.removeprefix("data: ")) for line in events[:-1]]
    endings = [item["choices"][0]["finish_reason"] for item in documents if item["choices"]]
    assert endings[-1] in ("stop", "length")
    # Byte for byte what the old release said: the gatekeeper has counted and hashed it.
    line = last_audit(inference, release=old["current"])
    assert line["reason"] == "ok"
    assert line["response_sha256"] == hashlib.sha256((first + rest).encode()).hexdigest()
    assert chat_slots(inference) == {
        **old,
        "current": old["previous"],
        "previous": old["current"],
    }
    ledger = [json.loads(line) for line in (site / "state/ledger.jsonl").read_text().splitlines()]
    released, relocked = ledger[-2:]
    assert (released["kind"], released["subject"]) == ("released", "chat")
    assert released["result"]["slots"]["current"] == old["previous"]
    assert relocked["result"]["reason"] == "rollback of chat: worse answers"


def test_what_a_slot_points_to_is_not_pruned(variant: Path, inference: Host, play: Play) -> None:
    result = play("site", {"model_store_prune": True}, "--tags", "model_store")
    assert result.returncode != 0
    previous = chat_slots(inference)["previous"]
    assert "the model variant is not removed" in result.stdout
    assert f"release {previous} is previous of chat" in result.stdout
    assert inference.file(str(variant)).exists


def test_a_damaged_current_release_is_replaced_by_the_previous_one(
    variant: Path, site: Path, inference: Host, play: Play, api: Api, intent: dict[str, Any]
) -> None:
    # The record is green still, so that nothing is asked again; then the owner writes it down.
    succeeded(play("release", {"service": "chat", "model": "variant"}))
    catalog = site / "group_vars" / "all" / "variant.yml"
    services = intent["airlock_services"]
    services = services | {"chat": services["chat"] | {"model": "variant"}}
    written = yaml.safe_load(catalog.read_text())
    catalog.write_text(yaml.safe_dump(written | {"airlock_services": services}))
    slots = chat_slots(inference)
    unit = f"airlock-runtime@{slots['current']}.service"

    flip(inference, str(variant))
    inference.run(f"systemctl restart {unit}")
    deadline = time.monotonic() + 60
    while not chat_slots(inference)["standin"]:
        assert time.monotonic() < deadline, inference.run("journalctl -n 50 --no-pager").stdout
        time.sleep(0.5)

    after = chat_slots(inference)
    assert after["standin"]["slot"] == "previous"
    assert "is not the approved one" in after["standin"]["because"]
    assert after == {**slots, "standin": after["standin"]}
    assert api.chat("Hello.", max_tokens=4).status == 200
    line = last_audit(inference, service="chat")
    assert (line["release"], line["slot"]) == (slots["previous"], "previous")
    said = inference.run(
        "journalctl --quiet --output=cat --priority=err --identifier=airlock-fallback"
    ).stdout
    assert f"is not answered by {slots['current']}, which failed, but by its previous" in said
    failed = inference.run(f"systemctl is-failed airlock-fallback@{slots['current']}.service")
    assert failed.stdout.strip() == "failed"
    # The same after a boot: the damaged one does not start, the one that stands in does.
    assert inference.run(f"systemctl is-enabled {unit}").stdout.strip() == "disabled"

    verdict = play("verify", {})
    assert verdict.returncode != 0
    records = json.loads((site / "evidence" / "inference.json").read_text())["records"]
    red = [item for item in records if item["verdict"] == "failed"]
    assert "EVA-01" in {item["control"] for item in red}

    repaired = succeeded(play("site", {}))
    assert chat_slots(inference) == slots
    assert "answers itself again" in repaired or inference.service(unit).is_running
    assert inference.service(unit).is_running
    assert slots["current"] not in inference.run("systemctl --failed --no-legend").stdout
    assert not inference.service(f"airlock-runtime@{slots['previous']}.service").is_running
    assert "changed=0" in succeeded(play("site", {})).split("inference  ")[-1]
