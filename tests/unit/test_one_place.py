# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written in several languages, held against the one place that decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from ansible_collections.homelab.airlock.plugins.module_utils import accounts

ROOT = Path(__file__).resolve().parents[2]
JINJA = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_accounts_are_those_of_the_library() -> None:
    assert load("roles/baseline/defaults/main.yml")["baseline_uid_base"] == accounts.FIRST_UID
    template = (ROOT / "roles/baseline/templates/sysusers.conf.j2").read_text(encoding="utf-8")
    text = JINJA.from_string(template).render(baseline_uid_base=accounts.FIRST_UID)
    made = [line.split()[1:3] for line in text.splitlines() if line.startswith("u ")]
    assert made == [[name, str(uid)] for uid, name in enumerate(accounts.NAMES, 860)]
    members = [line.split()[1:] for line in text.splitlines() if line.startswith("m ")]
    pool = [accounts.of_release(index) for index in range(accounts.RELEASES)]
    assert members == [["airlock-gatekeeper", name] for name in pool]


def test_the_rules_match_the_block_of_accounts() -> None:
    ranges = load("roles/egress/vars/main.yml")
    first, last = accounts.FIRST_UID, accounts.FIRST_UID + len(accounts.NAMES) - 1

    def rendered(name: str) -> str:
        return JINJA.from_string(ranges[name]).render(egress_uid_base=first)

    border = first + accounts.RELEASES
    assert rendered("__egress_release_uids") == f"{first}-{border - 1}"
    assert rendered("__egress_service_uids") == f"{border}-{last}"


def test_every_playbook_has_every_role() -> None:
    planes = load("roles/preflight/vars/main.yml")["__preflight_planes"]
    assert {"preflight", *planes} == {path.name for path in (ROOT / "roles").iterdir()}
    (build,) = [play for play in load("playbooks/site.yml") if "roles" in play]
    assert [entry["role"] for entry in build["roles"]] == [
        f"homelab.airlock.{name}" for name in planes
    ]
    (apart,) = [
        play
        for play in load("playbooks/uninstall.yml")
        if "vars" in play and "baseline_state" in play["vars"]
    ]
    assert apart["vars"] == {f"{name}_state": "absent" for name in planes}
