# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner gets wrong ends in sentences with the fix, and nothing comes to a host that is bare.

molecule runs this before the house is built, and compares the host with what it was afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[3]
MODEL = "smollm2-135m-instruct-q4_1"
WRONG = "0" * 64
NOBODY = {"ansible_host": "127.255.255.254", "preflight_connect_timeout": 1}
OWNER, PASSWORD = "houseowner", "correct horse 'battery' $taple"

Play = Callable[..., CompletedProcess[str]]


def words(text: str) -> str:
    return " ".join(text.split())


def assert_refused(done: CompletedProcess[str], *sentences: str) -> None:
    assert done.returncode != 0
    said = words(done.stdout)
    assert [sentence for sentence in sentences if sentence not in said] == []
    # The play told what it did to each host: nothing, as far as it got.
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    assert recap.count("changed=") == recap.count("changed=0") > 0
    assert "argument_spec_data" not in done.stdout


@pytest.mark.parametrize(
    ("variables", "sentences"),
    [
        pytest.param(
            {"airlock_servces": {}, "egress_alow": []},
            ["did you mean airlock_services?", "did you mean egress_allow?"],
            id="misspelled",
        ),
        pytest.param(
            {"airlock_services": [], "airlock_models": "small", "airlock_listen_port": "https"},
            [
                "airlock_services: expected a dictionary, found [].",
                "airlock_models: expected a dictionary, found 'small'.",
                "airlock_listen_port: expected a whole number, found 'https'.",
            ],
            id="shared inputs of the wrong kind",
        ),
        pytest.param(
            {
                "airlock_services": {"chat": {"model": "none"}},
                "airlock_apt_proxy": "http://proxy.lan:3142",
                "airlock_api_keys": {
                    "a": {"services": ["chat"], "routes": ["/v1/chat/completion"]}
                },
            },
            [
                "there is no entry none in airlock_models",
                "a name cannot be used",
                "no service has the route /v1/chat/completion; did you mean /v1/chat/completions?",
            ],
            id="contradictions",
        ),
        pytest.param(
            {
                "egress_allow": [{"address": "192.0.2.1", "protocol": "icmp"}],
                "pki_leaf_days": "many",
                "lock_state": "gone",
                "gateway_listen_addresses": "192.0.2.1",
                "pki_state": "absent",
            },
            [
                "egress_allow[0].protocol: expected tcp or udp, found 'icmp'.",
                "egress_allow[0]: the field port is missing; add it.",
                "pki_leaf_days: expected a whole number, found 'many'.",
                "lock_state: expected present or absent, found 'gone'.",
                "gateway_listen_addresses: expected a list, found '192.0.2.1'",
                "pki_state is absent, but gateway is present and needs it",
            ],
            id="variables of roles",
        ),
        pytest.param({"baseline_state": "absent"}, ["use uninstall.yml"], id="foundation"),
        pytest.param(
            {"airlock_admin_networks": ["192.168.77.0/24"], "baseline_uid_base": 0},
            ["The firewall would lock you out", "cannot have uid 0"],
            id="another host",
        ),
    ],
)
def test_bad_intent_is_refused(play: Play, variables: dict[str, Any], sentences: list[str]) -> None:
    assert_refused(play("site", variables), *sentences)


@pytest.mark.parametrize("playbook", ["site", "verify", "survey", "uninstall", "rebuild"])
@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "check"])
def test_a_host_that_does_not_answer_is_named(
    play: Play, playbook: str, options: list[str]
) -> None:
    assert_refused(
        play(playbook, NOBODY, *options),
        "does not answer at 127.255.255.254 within 1 s",
        "Nothing was changed on any host.",
    )


def test_a_site_directory_inside_a_collection_is_refused(play: Play) -> None:
    inside = ROOT / "docs"
    assert_refused(play("site", {"airlock_site_dir": str(inside)}), "is inside the collection")
    assert not (inside / "pki").exists()


@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "check"])
def test_secrets_in_the_clear_are_refused(play: Play, site: Path, options: list[str]) -> None:
    file = site / "group_vars/all/in_the_clear.yml"
    file.write_text(f"airlock_ca_passphrase: {PASSWORD}\nnote: aik_laptop_{'x' * 43}\n")
    try:
        done = play("site", {}, *options)
    finally:
        file.unlink()
    assert_refused(
        done,
        f"{file}, line 1: airlock_ca_passphrase is in the clear here",
        f"{file}, line 2: an API key is in the clear here",
    )
    assert PASSWORD not in done.stdout
    assert "x" * 43 not in done.stdout


def test_a_port_that_is_taken_is_refused(play: Play, inference: Host) -> None:
    inference.check_output("systemd-run --unit=squatter python3 -m http.server 9443 --bind ::")
    try:
        done = play("site", {"airlock_listen_port": 9443, "egress_displace": ["tcp:9443"]})
    finally:
        inference.check_output("systemctl stop squatter")
    assert_refused(done, "Port 9443 of inference is taken by python3")


def test_another_digest_of_a_model_stops_it(play: Play, intent: dict[str, Any]) -> None:
    catalog = copy.deepcopy(intent["airlock_models"])
    catalog[MODEL]["files"][0]["sha256"] = WRONG
    assert_refused(play("site", {"airlock_models": catalog}), f"expected sha256 {WRONG}")


def test_another_digest_of_a_runtime_stops_it(play: Play) -> None:
    name = "__runtime_artifacts"
    catalog = yaml.safe_load((ROOT / "roles/runtime/vars/main/artifacts.yml").read_text())[name]
    catalog["llama_cpp"]["sha256"] = catalog["llama_cpp"]["source"]["sha256"] = WRONG
    assert_refused(play("site", {name: catalog}), f"expected sha256 {WRONG}")


@pytest.fixture
def older(inference: Host) -> Iterator[None]:
    """Let the host say that it is Debian 11."""
    inference.check_output(
        "sed 's/1[0-9]/11/; s/trixie\\|bookworm/bullseye/' /etc/os-release >/run/os-release"
    )
    inference.check_output("echo 11.11 >/run/debian_version")
    for name in ("os-release", "debian_version"):
        inference.check_output("mount --bind /run/%s /etc/%s", name, name)
    yield
    for name in ("os-release", "debian_version"):
        inference.check_output("umount /etc/%s && rm /run/%s", name, name)


def test_an_older_system_is_refused(play: Play, older: None) -> None:
    assert_refused(play("site", {}), "expected one of Debian 12, Debian 13", "found Debian 11")


@pytest.fixture
def owner(inference: Host) -> Iterator[str]:
    """Make an account that may administer the host, but with its password."""
    inference.check_output("useradd --create-home --shell /bin/bash %s", OWNER)
    inference.check_output("echo %s | chpasswd", f"{OWNER}:{PASSWORD}")
    inference.check_output("echo %s >/etc/sudoers.d/%s", f"{OWNER} ALL=(ALL) ALL", OWNER)
    yield OWNER
    inference.check_output("rm -rf /etc/sudoers.d/%s /run/sudo/ts/%s", OWNER, OWNER)
    # Ansible keeps its connection, and userdel refuses as long as it is there.
    inference.check_output("pkill --full --uid %s sshd; sleep 1; userdel --remove %s", OWNER, OWNER)


def test_sudo_may_want_a_password(play: Play, owner: str) -> None:
    account = {"ansible_user": owner}
    done = play("survey", account | {"ansible_become_password": PASSWORD})
    assert done.returncode == 0, done.stdout
    done = play("site", account | {"ansible_become_password": "wrong"}, "--limit=inference")
    assert done.returncode != 0
    assert "password" in done.stdout
