# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written in several languages, held against the one place that decides it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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


def test_the_catalogue_of_routes_is_that_of_the_pinned_runtime() -> None:
    """Another version may have other routes: ask it for each, then say so in the catalogue."""
    for backend, artifact in load("roles/runtime/vars/main/artifacts.yml")[
        "__runtime_artifacts"
    ].items():
        path = ROOT / f"roles/gateway/files/routes/{backend}.json"
        versions = json.loads(path.read_text(encoding="utf-8"))["versions"]
        version = artifact["version"]
        assert any(f"{version}.".startswith(f"{known}.") for known in versions), version


GATEWAY = load("roles/gateway/vars/main/main.yml")
# Beside what is read at the start of a service: what systemd reads, what nobody keeps open, what is followed.
READ_BY_NOBODY = {
    "/etc/tmpfiles.d/airlock-gateway.conf",
    "/usr/lib/airlock/edge_reload.py",
    "/etc/airlock/gateway/keys.json",
}


def placed(role: str) -> list[str]:
    """Return the paths that `present.yml` of a role places, its variables looked up."""
    names = {"gateway": GATEWAY, "audit": load("roles/audit/vars/main.yml")}[role]
    (files,) = [
        task["homelab.airlock.managed_files"]["files"]
        for task in load(f"roles/{role}/tasks/present.yml")
        if "files" in task.get("homelab.airlock.managed_files", {})
    ]

    def known(entry: Any) -> Any:
        return names[entry.strip("{ }")] if isinstance(entry, str) else entry

    return [known(entry)["path"] for entry in known(files)]


@pytest.mark.parametrize(
    ("role", "source", "directory"),
    [
        ("gateway", "gatekeeper", "/usr/lib/airlock/gatekeeper/"),
        ("gateway", "routes", "/etc/airlock/gateway/routes/"),
        ("gateway", "screens", "/etc/airlock/gateway/screens/"),
        ("audit", "audit", "/usr/lib/airlock/audit/"),
    ],
)
def test_a_role_places_all_that_it_brings(role: str, source: str, directory: str) -> None:
    paths = (ROOT / "roles" / role / "files" / source).iterdir()
    names = {path.name for path in paths if path.is_file()}
    there = {path.removeprefix(directory) for path in placed(role) if path.startswith(directory)}
    assert there == names


def test_whatever_edge_and_gatekeeper_read_at_their_start_restarts_them() -> None:
    patterns = [
        GATEWAY[f"__gateway_{name}"] for name in ("gatekeeper_reads", "edge_reads", "edge_units")
    ]
    for path in placed("gateway"):
        readers = [pattern for pattern in patterns if re.match(pattern, path)]
        assert len(readers) == (path not in READ_BY_NOBODY), path
    units = {f"/etc/systemd/system/{unit}" for unit in GATEWAY["__gateway_units"]}
    assert units <= set(placed("gateway"))
    sockets = [unit for unit in units if re.match(GATEWAY["__gateway_gatekeeper_sockets"], unit)]
    assert len(sockets) == 2


def test_what_is_restarted_by_what_changed_is_noted_only_when_it_has() -> None:
    """A task that notifies stands with `follow_up`, and `in_force` comes after the handlers ran."""
    found = set()
    for path in sorted(ROOT.glob("roles/*/tasks/*.yml")):
        tasks = load(str(path.relative_to(ROOT)))
        modules = [task.get("homelab.airlock.managed_files", {}) for task in tasks]
        for index, (task, module) in enumerate(zip(tasks, modules, strict=True)):
            assert not ("notify" in task and module) or module.get("follow_up"), path
            if not module.get("follow_up"):
                continue
            found.add(path.parents[1].name)
            wanted = f"{{{{ {task['register']}.changed_paths }}}}"
            (end,) = [at for at, later in enumerate(modules) if later.get("in_force") == wanted]
            assert any(
                step.get("ansible.builtin.meta") == "flush_handlers"
                or task["register"] in str(step.get("when"))
                for step in tasks[index + 1 : end]
            ), path
    assert found == {"audit", "gateway", "pki"}


def _facts(tasks: Any) -> Iterator[str]:
    """Return the names that tasks and those within them register or set."""
    for task in tasks or []:
        if "register" in task:
            yield task["register"]
        yield from task.get("ansible.builtin.set_fact", {})
        for part in ("block", "rescue", "always"):
            yield from _facts(task.get(part))


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_no_task_takes_the_name_of_a_variable(role: str) -> None:
    """What is registered or set goes before what vars/ says, for whoever reads it afterwards."""
    said = {
        name
        for path in (ROOT / "roles" / role / "vars").rglob("*.yml")
        for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    }
    set_ = {
        name
        for path in (ROOT / "roles" / role / "tasks").rglob("*.yml")
        for name in _facts(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
    assert said & set_ == set()


def test_all_tests_are_all_of_them() -> None:
    """A stage of the Makefile and a scenario of molecule that nobody runs would be green for ever."""
    (stages,) = re.findall(r"^STAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    script = (ROOT / "tests/run-all").read_text()
    run = " ".join(re.findall(r"^(?:alone|by_twos)=\((.*)\)$", script, re.MULTILINE)).split()
    scenarios = {f"molecule:{path.parent.name}" for path in ROOT.glob("molecule/*/molecule.yml")}
    assert sorted(run) == sorted({*stages.split(), *scenarios} - {"molecule"})
