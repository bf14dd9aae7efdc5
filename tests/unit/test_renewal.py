# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing ends without a warning, a renewal that stops breaks nothing, and who is promised a timer gets one."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import (
    ISSUING_LEFT,
    Authority,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
PKI = yaml.safe_load((ROOT / "roles/pki/vars/main.yml").read_text())


def load(path: str) -> Any:
    """Return what a file of the role says."""
    return yaml.safe_load((ROOT / "roles/pki" / path).read_text())


def test_every_revocation_list_that_the_edge_reads_is_watched() -> None:
    placed = {
        name
        for file in PKI["__pki_authority_files"]
        for name in re.findall(r"/([a-z]+\.crl)'", file["content"])
    }
    assert placed
    assert placed == {Path(path).name for path in PKI["__pki_watched_lists"]}


@pytest.mark.parametrize("playbook", ["site", "renew"])
def test_a_controller_that_is_always_on_has_a_timer_for_as_long_as_the_house(playbook: str) -> None:
    plays = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    (task,) = [
        task
        for play in plays
        for task in play.get("tasks", [])
        if task.get("ansible.builtin.import_role", {}).get("tasks_from") == "timer.yml"
    ]
    assert "airlock_controller == 'always_on'" in task["when"]
    assert "present" in task["vars"]["__pki_timer"]


@pytest.mark.parametrize(
    ("user", "controller", "said"),
    [("0", "always_on", ""), ("1000", "visits", ""), ("1000", "always_on", "enable-linger nobody")],
    ids=["root", "nothing is promised", "stops with the session"],
)
def test_a_timer_that_ends_with_a_session_is_no_promise(
    play: Play, user: str, controller: str, said: str
) -> None:
    tasks = yaml.safe_load((ROOT / "roles/pki/tasks/survey.yml").read_text())
    facts = {
        "__pki_controller": user,
        "__pki_timer_user": "nobody",
        "airlock_controller": controller,
    }
    done = play(
        *(f"--extra-vars={name}={value}" for name, value in facts.items()),
        vars_files=[str(ROOT / "roles/pki/vars/main.yml")],
        tasks=tasks[1:2],
    )
    assert (done.returncode != 0) == bool(said), done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())


def test_a_life_that_nobody_renews_in_time_or_believes_is_refused(play: Play) -> None:
    (task,) = [task for task in load("tasks/survey.yml") if "Refuse a life" in task["name"]]
    usual = {"pki_leaf_days": 90, "pki_client_days": 90, "pki_clients": {"alice": {}}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"pki_leaf_days": 7, "airlock_visit_days": 1}, ""),
        ({"pki_leaf_days": 397, "pki_client_days": "397"}, ""),
        ({"pki_leaf_days": 29}, "pki_leaf_days: expected 30 to 397, found 29:"),
        ({"pki_client_days": "29"}, "pki_client_days: expected 30 to 397, found 29:"),
        ({"pki_client_days": 398}, "pki_client_days: expected 30 to 397, found 398:"),
        ({"pki_client_days": 1, "pki_clients": {}}, ""),  # nobody has one
        ({"pki_client_days": 0, "pki_clients": {}}, "pki_client_days: expected 1 to 397"),
    ]
    done = play(
        vars_files=[str(ROOT / "roles/pki/vars/main.yml")],
        tasks=[
            {
                **task,
                "name": f"case {n}",
                "vars": {"airlock_visit_days": 15, **usual, **case},
                "ignore_errors": True,
            }
            for n, (case, _said) in enumerate(cases)
        ],
    )
    parts = [" ".join(part.split()) for part in done.stdout.split("TASK [case ")[1:]]
    assert len(parts) == len(cases), done.stdout + done.stderr
    for (_case, said), part in zip(cases, parts, strict=True):
        assert ("failed:" in part) == bool(said), part
        assert said in part


@pytest.mark.parametrize(
    ("arguments", "removed"),
    [((), True), (("--limit", "one"), False), (("--limit", "one,two"), True)],
)
def test_the_timer_goes_with_the_last_host(
    play: Play, arguments: tuple[str, ...], *, removed: bool
) -> None:
    plays = yaml.safe_load((ROOT / "playbooks/uninstall.yml").read_text())
    (task,) = [task for task in plays[1]["tasks"] if "renew no longer" in task["name"]]
    done = play(
        *arguments,
        hosts="airlock_inference",
        inventory="[airlock_inference]\none ansible_connection=local\ntwo ansible_connection=local\n",
        tasks=[{"ansible.builtin.debug": {"msg": "it goes"}, "when": task.get("when", True)}],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("it goes" in done.stdout) == removed


def test_no_timer_outlives_the_house(play: Play, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for folder, home in (("", tmp_path), ("other/", tmp_path / "other")):
        unit = f"[Service]\nWorkingDirectory={home}\n"
        (tmp_path / f"{folder}airlock-renew.service").write_text(unit)
        (tmp_path / f"{folder}airlock-renew.timer").write_text("[Timer]\n")
    (block,) = load("tasks/timer.yml")
    removing = [task for task in block["block"] if "Stop it" not in task["name"]]
    for folder in ("", "/other"):
        done = play(
            vars={
                **PKI,
                "__pki_timer": "absent",
                "__pki_timer_directory": f"{tmp_path}{folder}",
                "__pki_timer_home": str(tmp_path),
            },
            tasks=removing,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("airlock-renew.*")}
    assert left == {"other/airlock-renew.service", "other/airlock-renew.timer"}


def test_the_unit_says_what_was_meant_whatever_is_in_a_path() -> None:
    home = "/srv/our site 100%"
    template = (ROOT / "roles/pki/templates/airlock-renew.service.j2").read_text()
    jinja = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)  # noqa: S701
    lines = (
        jinja.from_string(template)
        .render(
            __pki_timer_home=jinja.from_string(PKI["__pki_timer_home"]).render(inventory_dir=home),
            __pki_timer_program=f"{home}/bin/ansible-playbook",
            __pki_timer_success=f"{home}/pki/renewed",
            __pki_timer_environment={"ANSIBLE_CONFIG": f"{home}/ansible.cfg", "ANSIBLE_OTHER": ""},
            ansible_inventory_sources=[f"{home}/in ven.yml", '/srv/"$HOME".yml'],
        )
        .splitlines()
    )
    said = "/srv/our site 100%%"
    assert f"WorkingDirectory={said}" in lines
    assert [line for line in lines if line.startswith("Environment")] == [
        f'Environment="ANSIBLE_CONFIG={said}/ansible.cfg"'
    ]
    assert [line for line in lines if line.startswith("Exec")] == [
        f'ExecStart="{said}/bin/ansible-playbook" homelab.airlock.renew'
        f' -i "{said}/in ven.yml" -i "/srv/\\"$$HOME\\".yml"',
        f'ExecStartPost=/usr/bin/touch "{said}/pki/renewed"',
    ]


def test_the_timer_finds_what_the_run_found_that_made_it(play: Play, tmp_path: Path) -> None:
    done = play(
        vars={**PKI, "inventory_dir": "/", "airlock_site_dir": "/"},
        tasks=[{"ansible.builtin.debug": {"msg": "{{ __pki_timer_environment }}"}}],
    )
    assert f'"ANSIBLE_CONFIG": "{tmp_path}/ansible.cfg"' in done.stdout, done.stdout + done.stderr
    assert re.search(r'"ANSIBLE_COLLECTIONS_PATH": "/[^"]+"', done.stdout)


def aged(site: Path, days: int) -> str:
    """Have a site whose key ann was made ``days`` days ago; return the key."""
    directory = site / "secrets/keys"
    directory.mkdir(parents=True)
    made = datetime.now(timezone.utc) - timedelta(days=days)
    text, record = api_keys.generate("ann", ["chat"], days=30, now=made)
    (directory / "ann.key").write_text(f"{text}\n")
    (directory / "ann.json").write_text(json.dumps(record.as_dict()))
    directory.chmod(0o700)
    for path in directory.iterdir():
        path.chmod(0o600)
    return text


def test_a_key_that_is_due_is_renewed_where_certificates_are(play: Play, tmp_path: Path) -> None:
    old = aged(tmp_path, 16)
    gateway = ROOT / "roles/gateway"
    files = ("defaults/main", "vars/main/main", "vars/main/probes", "vars/main/recap")
    renew = yaml.safe_load((gateway / "tasks/renew.yml").read_text())
    assert renew[0]["ansible.builtin.include_tasks"] == "keys.yml"
    placed = {
        "ansible.builtin.copy": {
            "content": "{{ __gateway_keys_file.content }}",
            "dest": f"{tmp_path}/keys.json",
            "mode": "0600",
        },
        "changed_when": False,
        "check_mode": False,
    }
    look, *keys = yaml.safe_load((gateway / "tasks/keys.yml").read_text())
    assert look["ansible.builtin.include_tasks"] == "placed.yml"  # there is no host here

    def run(*arguments: str) -> tuple[str, dict[str, Any], str]:
        """Return what was said, the record that the host gets, and the key."""
        done = play(
            *arguments,
            vars_files=[str(gateway / f"{name}.yml") for name in files],
            vars={
                "airlock_site_dir": str(tmp_path),
                "airlock_api_keys": {"ann": {"services": ["chat"]}},
                "airlock_exposure": "internal",
                "airlock_authentication": "tls",
                "airlock_clients": {},
                "__gateway_host_keys": {},
            },
            tasks=[*keys, placed, *renew[2:]],
        )
        assert done.returncode == 0, done.stdout + done.stderr
        key = (tmp_path / "secrets/keys/ann.key").read_text().strip()
        (record,) = json.loads((tmp_path / "keys.json").read_text())["keys"]
        return " ".join(done.stdout.split()), record, key

    said, record, key = run("--check")
    assert "ann: the key has lived half of its life and is renewed" in said
    assert key == old and "retiring" in record
    said, record, key = run()
    assert "changed=1" in said
    assert "New key:" in said and f"good until {record['retiring']['until']}" in said
    known = {"ann": api_keys.from_dict(record, where="here")}
    now = datetime.now(timezone.utc)
    assert key != old
    assert [api_keys.verify(text, known, now).state for text in (old, key)] == [api_keys.OK] * 2
    again, same, unchanged = run()
    assert "changed=0" in again
    assert (same, unchanged) == (record, key)


def test_verify_says_how_long_every_key_on_the_host_lives(play: Play, tmp_path: Path) -> None:
    aged(tmp_path, 16)
    record = json.loads((tmp_path / "secrets/keys/ann.json").read_text())
    end = datetime.now(timezone.utc) + timedelta(days=1)
    overlap = {"sha256": "2" * 64, "until": api_keys.format_time(end)}
    kept = {"keys": [{**record, "retiring": overlap}]}
    done = play(
        vars_files=[
            str(ROOT / "roles/gateway/vars/main" / f"{name}.yml") for name in ("main", "probes")
        ],
        vars={
            "airlock_site_dir": str(tmp_path),
            "airlock_visit_days": "15",
            "gateway_api_keys": {"ann": {"services": ["chat"]}},
            "__gateway_keys_kept": {
                "content": base64.b64encode(json.dumps(kept).encode()).decode()
            },
        },
        tasks=[{"ansible.builtin.debug": {"msg": "{{ __gateway_life_records }}"}}],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.split(" => ")[1].split("\n\n")[0])["msg"]
    assert [(one["control"], one["holds"], "waiver" in one) for one in found] == [
        ("KEY-07", False, True)
    ] * 2
    assert "ann.key" in found[1]["waiver"]["reason"]


def test_site_and_renew_renew_keys_and_nobody_else_does() -> None:
    asked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "roles").rglob("tasks/*.yml"))
        if "renew: true" in path.read_text() or "include_tasks: keys.yml" in path.read_text()
    ]
    assert asked == [f"roles/gateway/tasks/{name}.yml" for name in ("keys", "present", "renew")]
    (play,) = yaml.safe_load((ROOT / "playbooks/renew.yml").read_text())
    imported = [task.get("ansible.builtin.import_role", {}) for task in play["tasks"]]
    assert {"name": "homelab.airlock.gateway", "tasks_from": "renew.yml"} in imported


HOUR = 3600


def test_a_timer_that_fails_every_night_is_found_out(play: Play) -> None:
    good, bad = "Result=success\nExecMainStatus=0", "Result=exit-code\nExecMainStatus=4"
    cases: list[
        tuple[int | None, int | None, str, bool]
    ] = [  # hours since it was placed, and went well
        (999, 20, good, True),
        (999, 20, bad, False),
        (999, 60, good, False),  # it was switched off since
        (2, None, good, True),  # it had no time so far
        (60, None, good, False),
        (None, None, good, False),
        (999, 20, "", False),
    ]
    now = datetime.now(timezone.utc).timestamp()

    def file(ago: int | None) -> dict[str, Any]:
        return {"exists": False} if ago is None else {"exists": True, "mtime": now - ago * HOUR}

    done = play(
        vars={**PKI, "__pki_timer_directory": "/nowhere"},
        tasks=[
            {
                "ansible.builtin.debug": {"msg": "{{ __pki_records_timer[0] }}"},
                "vars": {
                    "__pki_timer_last": {"stdout": said},
                    "__pki_timer_files": {
                        "results": [{"stat": file(well)}, {"stat": file(placed)}]
                    },
                },
            }
            for placed, well, said, _holds in cases
        ],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(text.split("\n\n")[0])["msg"] for text in done.stdout.split(" => ")[1:]]
    assert [record["holds"] for record in found] == [holds for *_rest, holds in cases]
    assert found[1]["observed"].startswith(
        "Result=exit-code, ExecMainStatus=4; the last success was"
    )


def test_an_authority_whose_root_is_away_is_amber_long_before_it_is_red(
    play: Play, tmp_path: Path
) -> None:
    days = {f"{name}.pem {left}": left for name in ("issuing", "ca") for left in (340, 330, 89)}
    now = datetime.now(timezone.utc) + timedelta(hours=1)
    lives = [
        {
            "item": f"{tmp_path}/pki/{name.split()[0]}",
            "subject": {"commonName": name},
            "not_after": f"{now + timedelta(days=left):%Y%m%d%H%M%SZ}",
        }
        for name, left in days.items()
    ]
    task = {"ansible.builtin.copy": {"dest": str(tmp_path / "records"), "content": "{{ found }}"}}
    done = play(
        vars_files=[str(ROOT / "roles/pki/vars/main.yml")],
        vars={
            "airlock_site_dir": str(tmp_path),
            "airlock_visit_days": 30,
            "pki_leaf_days": 7,
            "pki_client_days": 90,
            "__pki_lives": {"results": lives},
            "__pki_list_lives": {"results": []},
        },
        tasks=[{**task, "vars": {"found": "{{ __pki_records_lives | to_json }}"}}],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "records").read_text())
    assert [(record["holds"], "waiver" in record) for record in found] == [
        (True, False),
        (False, True),
        (False, False),
    ] * 2
    # Not amber before a run would renew it.
    assert int(found[0]["expected"].split()[-1].rstrip("h")) <= ISSUING_LEFT.total_seconds() / 3600


Renewal = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def renewal(tmp_path: Path) -> Renewal:
    """Return what gives the tasks of a renewal of this machine, whose files lie in ``tmp_path``, as if it were root."""
    site, host = tmp_path / "site", tmp_path / "etc"
    with Authority.opened(site, datetime.now(timezone.utc)) as authority:
        authority.ensure(Scope.of(["ai.home.arpa"], []), 90)
    host.mkdir()
    variables = {
        **PKI,
        "airlock_site_dir": str(site),
        "pki_server_names": ["ai.home.arpa"],
        "pki_server_addresses": [],
        "pki_leaf_days": 90,
    }

    def tasks(*, first: bool, between: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for task in load("tasks/renew.yml"):
            inner = [{"vars": task.get("vars", {}), **one} for one in task.get("block", [task])]
            for one in inner + task.get("always", []):
                merged = {"vars": {**task.get("vars", {}), **one.get("vars", {})}}
                found += [{**here(one), **merged}, *([] if first else between)]
        facts = {"vars": {**variables, "__pki_public": {"rc": 1 if first else 0}}, "block": found}
        text = json.dumps(facts).replace("/etc/airlock/pki", str(host))
        return [json.loads(text.replace("/var/lib/airlock", str(site)))]

    return tasks


def fits(host: Path) -> dict[str, Any]:
    """Return a task that fails unless the pair in ``host`` is one."""
    pair = f"""test "$(openssl x509 -in {host}/edge.pem -pubkey -noout)" \
      = "$(openssl pkey -in {host}/edge.pem.key -pubout)" """
    return {"name": "the pair fits", "ansible.builtin.shell": pair, "changed_when": False}


def test_a_renewal_that_stops_leaves_a_pair_that_fits(
    play: Play, renewal: Renewal, tmp_path: Path
) -> None:
    site, host = tmp_path / "site", tmp_path / "etc"
    done = play(tasks=[*renewal(first=True), fits(host)])
    assert done.returncode == 0, done.stdout + done.stderr
    before = (host / "edge.pem").read_bytes()
    done = play(tasks=renewal(first=False, between=[fits(host)]))
    assert done.returncode == 0, done.stdout + done.stderr
    leaf = (site / "pki/hosts/localhost.pem").read_bytes()
    assert before != (host / "edge.pem").read_bytes() == leaf
    assert (host / "edge.pem.key").stat().st_mode & 0o777 == 0o400
    assert sorted(path.name for path in host.iterdir()) == ["edge.pem", "edge.pem.key"]


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\n"], ids=["empty", "damaged"])
def test_a_key_that_cannot_be_read_is_replaced_with_its_certificate(
    play: Play, renewal: Renewal, tmp_path: Path, text: str
) -> None:
    """The first certificate is not placed beside a key, or every later run would fail there."""
    host = tmp_path / "etc"
    done = play(tasks=renewal(first=True))
    assert "Place the first certificate] " in done.stdout
    assert "skipping" not in done.stdout
    (host / "edge.pem.key").chmod(0o600)
    (host / "edge.pem.key").write_text(text)
    done = play(tasks=[*renewal(first=True), fits(host)])
    assert done.returncode == 0, done.stdout + done.stderr
    place = done.stdout.split("Place the first certificate]")[1].split("TASK")[0]
    assert "skipping" in place


@pytest.mark.parametrize(
    ("after", "stops"), [("Ask for", "has asked"), ("Sign it", "has finished")]
)
def test_two_renewals_at_once_never_pair_the_key_of_one_with_the_certificate_of_the_other(
    play: Play, renewal: Renewal, tmp_path: Path, after: str, stops: str
) -> None:
    host = tmp_path / "etc"
    done = play(tasks=renewal(first=True))
    assert done.returncode == 0, done.stdout + done.stderr
    (other,), (mine,) = renewal(first=False), renewal(first=False)
    ends = 3 if stops == "has asked" else len(other["block"])
    other["block"] = other["block"][:ends]
    document = [{"hosts": "localhost", "gather_facts": False, "tasks": [other]}]
    (tmp_path / "other.yml").write_text(json.dumps(document))
    program = Path(sys.executable).parent / "ansible-playbook"
    meanwhile = {
        "ansible.builtin.command": f"{program} -i hosts other.yml",
        "args": {"chdir": str(tmp_path)},
    }
    (place,) = [n for n, task in enumerate(mine["block"]) if after in task["name"]]
    mine["block"].insert(place + 1, meanwhile)
    done = play(tasks=[mine])
    assert done.returncode == 0, done.stdout + done.stderr
    assert play(tasks=[fits(host)]).returncode == 0


@pytest.mark.parametrize("ours", [True, False])
def test_no_certificate_is_placed_beside_the_key_of_another(
    play: Play, renewal: Renewal, tmp_path: Path, *, ours: bool
) -> None:
    """The controller has one that another run has signed since."""
    host = tmp_path / "etc"
    done = play(tasks=renewal(first=True))
    assert done.returncode == 0, done.stdout + done.stderr
    if not ours:
        key = ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"]
        (host / "edge.pem.key").unlink()
        subprocess.run([*key, str(host / "edge.pem.key")], check=True)
    command = PKI["__pki_made_files"][0]["validate"].replace("/etc/airlock/pki", str(host))
    words = [word.replace("%s", str(host / "edge.pem")) for word in command.split()]
    done = subprocess.run(words, check=False, capture_output=True)
    assert (done.returncode == 0) == ours, done.stderr


def test_a_revocation_leaves_the_pair_of_the_host_alone() -> None:
    text = (ROOT / "roles/pki/tasks/revoke.yml").read_text()
    assert "__pki_authority_files" in text
    assert "__pki_made_files" not in text


def here(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task for this machine and whoever runs it; `managed_files` would keep its record in /var/lib."""
    task = dict(task)
    if placed := task.pop("homelab.airlock.managed_files", None):
        file = f"({placed['files'][2:-2]})[0]"
        task["ansible.builtin.copy"] = {
            "content": f"{{{{ {file}.content }}}}",
            "dest": f"{{{{ {file}.path }}}}",
            "mode": "0644",
        }
    for arguments in task.values():
        if isinstance(arguments, dict):
            arguments.pop("owner", None)
            arguments.pop("group", None)
    return task
