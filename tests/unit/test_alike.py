# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have in common is written once: who is named for one host alone loses nothing through another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
HOSTS = "[airlock_inference]\none ansible_connection=local\ntwo ansible_connection=local\n"
ALIKE = {
    "ansible.builtin.include_role": {"name": "homelab.airlock.preflight", "tasks_from": "alike"}
}


@pytest.mark.parametrize(
    ("shared", "two", "said"),
    [
        ("airlock_clients: {alice: {}}", "", ""),
        ("airlock_clients: {alice: {}}", "airlock_clients: {bob: {}}", "airlock_clients is not"),
        ("", "airlock_clients: {bob: {}}", "airlock_clients is not"),
        (
            "airlock_api_keys: {ann: {services: [chat]}}",
            "airlock_api_keys: {ann: {services: [chat, embed]}}",
            "airlock_api_keys is not",
        ),
        # What a role takes in the place of the shared ones.
        ("airlock_clients: {alice: {}}", "pki_clients: {bob: {}}", "pki_clients is not"),
        (
            "airlock_api_keys: {ann: {services: [chat]}}",
            "gateway_api_keys: {ann: {services: [embed]}}",
            "gateway_api_keys is not",
        ),
        ("airlock_clients: {alice: {}}", "pki_clients: {alice: {}}", ""),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--limit", "two")])
def test_who_is_named_for_one_host_alone_is_refused(
    play: Play, tmp_path: Path, arguments: tuple[str, ...], shared: str, two: str, said: str
) -> None:
    for name, text in (("group_vars/all", shared), ("host_vars/two", two)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yml").write_text(f"{text}\n")
    done = play(*arguments, hosts="airlock_inference", inventory=HOSTS, tasks=[ALIKE])
    assert (done.returncode != 0) == bool(said), done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())


@pytest.mark.parametrize("playbook", ["rotate", "revoke", "renew"])
def test_whatever_keeps_clients_or_keys_looks_first(playbook: str) -> None:
    (found,) = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    first = found["tasks"][0]["ansible.builtin.import_role"]
    assert first == {"name": "homelab.airlock.preflight", "tasks_from": "alike.yml"}
    intent = yaml.safe_load((ROOT / "roles/preflight/tasks/intent.yml").read_text())
    assert {"ansible.builtin.include_tasks": "alike.yml"}.items() <= intent[1].items()
