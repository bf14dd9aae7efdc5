# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have to keep secret stays on the controller: no task gives it to a client's machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *sorted((ROOT / "roles/gateway/tasks").glob("*.yml")),
    *sorted((ROOT / "roles/evaluation/tasks").glob("*.yml")),
    ROOT / "playbooks/revoke.yml",
]
KEYS = {"ann": {"services": ["chat"], "max_tokens": 9}, "bob": {"services": ["embed"]}}
THEIRS, LENT = "T" * 43, "L" * 43


def tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield tasks, those of plays and blocks among them."""
    for entry in entries:
        for inner in ("tasks", "block", "always"):
            yield from tasks(entry.get(inner, []))
        yield entry


def shown(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task that prints what ``task`` would send."""
    (arguments,) = [value for name, value in task.items() if name.startswith("homelab.airlock.")]
    return {"ansible.builtin.debug": {"msg": arguments}}


def test_no_key_of_a_person_reaches_a_clients_machine(tmp_path: Path, play: Play) -> None:
    planted = {f"secrets/keys/{name}.key": f"aik_{name}_{THEIRS}" for name in KEYS}
    planted |= {f"secrets/clients/alice.{ending}": THEIRS for ending in ("pem", "key")}
    planted["pki/ca.pem"] = "the authority"
    for name in ("verify", "verify-0", "verify-1", "evaluation", "witness"):
        planted[f"secrets/lent-localhost/0-{name}.key"] = f"aik_0-{name}_{LENT}"
    for path, text in planted.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = [task for path in FILES for task in tasks(yaml.safe_load(path.read_text()))]
    facts = [
        {key: task[key] for key in ("ansible.builtin.set_fact", "vars") if key in task}
        for task in found
        if "ansible.builtin.set_fact" in task and "no_log" in task
    ]
    sent = [task for task in found if "__gateway_client" in str(task.get("delegate_to"))]
    assert len(sent) >= 4
    done = play(
        vars_files=[
            str(ROOT / "roles" / name)
            for name in (
                "gateway/defaults/main.yml",
                "gateway/vars/main/main.yml",
                "gateway/vars/main/probes.yml",
                "gateway/vars/main/twins.yml",
            )
        ],
        vars={
            "role_path": str(ROOT / "roles/gateway"),
            "airlock_site_dir": str(tmp_path),
            "airlock_api_keys": KEYS,
            "airlock_services": {"chat": {"model": "m"}, "embed": {"mode": "embedding"}},
            "airlock_clients": {"alice": {}},
            "airlock_authentication": "mtls",
            "airlock_exposure": "high",
            "airlock_server_names": ["ai.home.arpa"],
            "airlock_server_addresses": [],
            "airlock_listen_port": 8443,
            "airlock_probe_targets": [],
            "__gateway_visiting": {
                "visitors": dict.fromkeys(
                    ("valid", "expired", "revoked", "server", "stranger", "witness"), "a visitor"
                )
            },
            "__gateway_key": "ann",
            "__gateway_witness_file": f"{tmp_path}/secrets/lent-localhost/0-witness.key",
            "__gateway_lent": "{{ __gateway_standins }}",
            "__gateway_lent_keys": {"records": [{"id": "0-verify", "sha256": "5" * 64}]},
            "__evaluation_key_id": "0-evaluation",
            "__evaluation_name": "chat",
            "__evaluation_release": {"mode": "chat"},
            "__evaluation_suite": yaml.safe_load(
                (ROOT / "roles/evaluation/files/suite.json").read_text()
            ),
            "__revoke_file": str(tmp_path / "secrets/clients/alice"),
        },
        tasks=[*facts, *map(shown, sent)],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"aik_0-verify_{LENT}" in done.stdout
    assert f"aik_0-verify-1_{LENT}" in done.stdout
    assert f"aik_0-evaluation_{LENT}" in done.stdout
    assert f"aik_0-witness_{LENT}" in done.stdout
    assert THEIRS not in done.stdout


def test_keys_of_one_run_open_what_is_to_be_tried_here_and_now(play: Play) -> None:
    """The visitor opens every service, whatever the first key of the site does."""
    bounds = {"hours": "08:00-09:00 UTC", "networks": ["192.0.2.0/24"]}
    done = play(
        vars={
            **yaml.safe_load((ROOT / "roles/gateway/vars/main/probes.yml").read_text()),
            "airlock_services": {"chat": {"model": "m"}, "embed": {"mode": "embedding"}},
            "gateway_api_keys": {"ann": {"services": ["embed"], "max_tokens": 9, **bounds}},
        },
        tasks=[{"ansible.builtin.debug": {"msg": "{{ __gateway_standins | to_json }}!"}}],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = re.findall(r'"msg": (".*!")', done.stdout)
    assert json.loads(json.loads(found)[:-1]) == {
        "0-verify": {"services": ["chat", "embed"], "expires_days": 1},
        "0-verify-0": {"services": ["embed"], "max_tokens": 9, "expires_days": 1},
    }


def test_the_host_has_the_keys_of_the_controller_and_no_others(play: Play) -> None:
    ann = {
        "id": "ann",
        "sha256": "1" * 64,
        "not_after": "2026-12-01T00:00:00Z",
        "services": ["chat"],
    }
    bob = {**ann, "id": "bob", "sha256": "2" * 64, "max_tokens": 9}
    ending = {**ann, "retiring": {"sha256": "3" * 64, "until": "2026-11-20T00:00:00Z"}}
    cases: list[tuple[list[Any], list[Any]]] = [
        ([ann, bob], []),
        ([ending, bob], []),  # the overlap is over, and nobody has tidied up
        ([ann], ["bob"]),
        ([ann, {**bob, "max_tokens": 99}], ["bob", "bob"]),
        ([ann, bob, {**ann, "id": "eve"}], ["eve"]),
        ([{**ann, "sha256": "4" * 64}, bob], ["ann", "ann"]),
    ]
    done = play(
        vars={
            **yaml.safe_load((ROOT / "roles/gateway/vars/main/probes.yml").read_text()),
            "__gateway_latest": "2027-11-21T00:00:00Z",
            "__gateway_wanted": {"records": [ann, bob]},
        },
        tasks=[
            {
                "ansible.builtin.debug": {
                    "msg": "{{ __gateway_strange_keys | map(attribute='id') | sort | join(' ') }}!"
                },
                "vars": {"__gateway_kept": kept},
            }
            for kept, _strange in cases
        ],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r'"msg": "(.*)!"', done.stdout)
    assert found == [" ".join(strange) for _kept, strange in cases]
