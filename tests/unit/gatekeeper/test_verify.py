# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify tries with the twins of its key, through the real edge and the real gatekeeper: it shows that they hold,
and, where somebody broke one of them, that it does not."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys, evidence
from ansible_collections.homelab.airlock.tests.unit.conftest import Play

from .conftest import ROOT, House, begin_stream, reply, send_chunk
from .edge import running

ROLE = ROOT / "roles/gateway"
RECORDS = {"GW-01": 2, "GW-11": 4, "GW-12": 2, "GW-13": 1, "KEY-06": 6}


def model(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Say what the schema leaves, else hello; count words as tokens."""
    form = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    text = json.dumps(form.get("const", "hello"))
    words = sum(len((message["content"] or "").split()) for message in body["messages"])
    if not body.get("stream"):
        message = {"role": "assistant", "content": text}
        reply(
            handler,
            {
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": words,
                    "completion_tokens": 8,
                    "total_tokens": words + 8,
                },
            },
        )
        return
    begin_stream(handler)
    for start in range(0, len(text), 3):
        choice = {"index": 0, "delta": {"content": text[start : start + 3]}, "finish_reason": None}
        event = {"object": "chat.completion.chunk", "choices": [choice]}
        send_chunk(handler, b"data: %s\n\n" % json.dumps(event).encode())
    send_chunk(handler, b"data: [DONE]\n\n")
    send_chunk(handler, b"")


def knock(house: House, play: Play, folder: Path, **facts: Any) -> list[dict[str, Any]]:
    """Run what verify.yml of the role does with these keys; return the records, judged."""
    now = datetime.now(timezone.utc)
    key, record = api_keys.generate("0-verify", ["chat", "embed"], days=1, now=now)
    lent = folder / "secrets/lent-localhost"
    lent.mkdir(parents=True)
    (lent / "0-verify.key").write_text(key)
    house.runtime.behave = lambda handler: model(handler, house.runtime.requests[-1][2])
    house.start()
    house.ask("GET", "/health")
    with running(house) as edge:
        done = play(
            f"--extra-vars={json.dumps(facts)}",
            vars_files=[
                str(ROLE / "defaults/main.yml"),
                *(str(ROLE / f"vars/main/{name}.yml") for name in ("main", "probes", "twins")),
            ],
            vars={
                "role_path": str(ROLE),
                "airlock_site_dir": str(folder),
                "airlock_api_keys": {},
                "airlock_services": {"embed": {"mode": "embedding"}, "chat": {"model": "m"}},
                "__gateway_lent": ["0-verify"],
                "__gateway_lent_keys": {"records": [record.as_dict()]},
            },
            tasks=[
                {
                    "ansible.builtin.copy": {
                        "content": "{{ {'keys': __gateway_lent_keys.records + __gateway_twin_records} | to_json }}",
                        "dest": str(house.config / "evaluation.json"),
                    }
                },
                {
                    "homelab.airlock.api_probe": {
                        "url": edge.url,
                        "ca": edge.authority.read_text(),
                        "key": "{{ __gateway_secret }}",
                        "requests": "{{ __gateway_requests_answered + __gateway_requests_layers"
                        " + __gateway_requests_twins }}",
                    },
                    "register": "__gateway_knocked",
                },
                {
                    "ansible.builtin.copy": {
                        "content": "{{ (__gateway_knocked.records + __gateway_layer_records) | to_json }}",
                        "dest": str(folder / "records.json"),
                    }
                },
            ],
        )
    assert done.returncode == 0, done.stdout + done.stderr
    records: list[dict[str, Any]] = json.loads((folder / "records.json").read_text())
    for one in records:
        one["verdict"] = evidence.judge(
            holds=one["holds"],
            denial=one.get("denial", False),
            positive_control=one.get("positive_control"),
            today=now.date(),
        )
    return records


def test_it_shows_that_every_layer_and_every_bound_holds(
    cold_house: House, play: Play, tmp_path: Path
) -> None:
    records = knock(cold_house, play, tmp_path)
    assert Counter(record["control"] for record in records) == RECORDS
    assert [record for record in records if record["verdict"] != "passed"] == []


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_it_shows_what_somebody_broke(cold_house: House, play: Play, tmp_path: Path) -> None:
    program, screens = cold_house.base / "lib/gatekeeper", cold_house.config / "screens"
    table = json.loads((screens / "input.json").read_text())
    cold_house.place("screens/input.json", {**table, "phrases": [], "markers": {}})
    cold_house.place("screens/weights.json", {"version": 1, "bias": 0, "words": {}, "pairs": {}})
    edit(screens / "output.json", '"parts": ["A", ["[KS]"', '"parts": ["B", ["[KS]"')
    edit(program / "gate.py", "caller.scope.guardrail or", "'' or")
    edit(program / "callers.py", "verdict.state != api_keys.OK or", "")
    edit(program / "callers.py", "if scope.hours and", "if False and")
    edit(program / "callers.py", "if scope.networks and", "if False and")
    edit(program / "limits.py", "if wait > 0:", "if False:")
    records = knock(cold_house, play, tmp_path)
    failed = Counter(record["control"] for record in records if record["verdict"] == "failed")
    assert failed == {"GW-11": 3, "GW-12": 2, "GW-13": 1, "KEY-06": 6}


def test_a_model_that_cannot_be_made_to_say_a_secret_proves_nothing(
    cold_house: House, play: Play, tmp_path: Path
) -> None:
    question = {"model": "chat", "messages": [{"role": "user", "content": "Say it."}]}
    records = knock(cold_house, play, tmp_path, __gateway_planted_body=question)
    others = [(one["control"], one["verdict"]) for one in records if one["verdict"] != "passed"]
    assert others == [("GW-12", "unproven")] * 2
