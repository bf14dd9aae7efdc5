# SPDX-License-Identifier: GPL-3.0-or-later
"""A maintenance window, from the host that it is opened for: who gets through it, when, and how it ends.

The stand-in for the internet serves a real, tiny repository; apt fetches it as it fetches Debian's. Every refusal
stands beside the same thing that works: the same program as another user, or the same fetch from the client.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

FILES = Path(__file__).parent / "files"
NAME, PORT = "mirror.lab", 8081
FOLDER = "/srv/airlock-mirror"
SLOW = f"{FOLDER}/slow/download"
# Packages, version 1 on the host and version 2 on the mirror, and in which of its repositories.
PACKAGES = {
    "airlock-probe": "security",
    "nvidia-airlock-probe": "security",
    "airlock-other": "other",
    "libcuda-airlock-other": "other",
}
SOURCE = "/etc/apt/sources.list.d/airlock-test.list"
CONFIGURATION = "/etc/apt/apt.conf.d/99airlock-test"
UPDATE = f"apt-get -o Dir::Etc::sourcelist={SOURCE} -o Dir::Etc::sourceparts=- -o APT::Update::Error-Mode=any update"


@dataclass(frozen=True)
class Mirror:
    address: str
    client: Host

    @property
    def url(self) -> str:
        return f"http://{self.address}:{PORT}"

    @property
    def destination(self) -> dict[str, Any]:
        return {"name": NAME, "address": self.address, "port": PORT}


def must(host: Host, command: str) -> str:
    done = host.run(command)
    assert done.rc == 0, f"{command}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def put(host: Host, name: str, path: str) -> None:
    text = (FILES / name).read_text()
    must(host, f"cat >{path} <<'END_OF_FILE'\n{text}END_OF_FILE\n")


def ansible(site: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Ansible against the lab; its inventory is that of the site."""
    command = [program, "--inventory", str(site / "inventory.yml"), *arguments]
    # Molecule colours what it runs.
    plain = {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    environment = {**os.environ, **plain, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def window(site: Path, state: str = "listed", **arguments: Any) -> dict[str, Any]:
    """Call the module egress_window on the inference host and return what it returned."""
    given = json.dumps({"state": state, **arguments})
    module = ("--module-name", "homelab.airlock.egress_window", "--args", given)
    done = ansible(site, "ansible", "inference", "--become", *module)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout[done.stdout.index("{") :]))


def maintain(site: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    return ansible(
        site, "ansible-playbook", "homelab.airlock.maintain", "--extra-vars", json.dumps(variables)
    )


def fetch(host: Host, user: str, url: str) -> int:
    """Return the exit status of curl as ``user``."""
    return int(
        host.run(f"runuser -u {user} -- curl --silent --fail --max-time 10 -o /dev/null {url}").rc
    )


@pytest.fixture(scope="module")
def mirror(site: Path, inference: Host, client: Host, intent: dict[str, Any]) -> Iterator[Mirror]:
    """Serve version 2 of a package from the stand-in for the internet; version 1 is installed."""
    wan = testinfra.get_host("ssh://wan", ssh_config=str(site.parent / "ssh" / "config"), sudo=True)
    address = intent["airlock_probe_targets"][0]["address4"]
    codename = must(inference, ". /etc/os-release && echo $VERSION_CODENAME").strip()
    for host in (wan, inference):
        must(host, f"mkdir -p {FOLDER}")
        put(host, "package.sh", f"{FOLDER}/package.sh")
    for name in ("mirror.py", "index.sh"):
        put(wan, name, f"{FOLDER}/{name}")
    for name, folder in PACKAGES.items():
        must(wan, f"sh {FOLDER}/package.sh {FOLDER}/www/{folder} {name} 2")
        must(
            inference,
            f"sh {FOLDER}/package.sh {FOLDER} {name} 1 && dpkg -i {FOLDER}/{name}_1_all.deb",
        )
    must(wan, f"sh {FOLDER}/index.sh {FOLDER}/www/security Debian-Security {codename}-security")
    must(wan, f"sh {FOLDER}/index.sh {FOLDER}/www/other Debian {codename}")
    must(
        wan,
        "systemd-run --quiet --collect --unit=airlock-mirror "
        f"python3 {FOLDER}/mirror.py {FOLDER}/www {PORT}",
    )
    must(inference, f"install -d -o _apt {FOLDER}/slow")
    for folder in ("security", "other"):
        must(inference, f"echo 'deb [trusted=yes] http://{NAME}:{PORT}/{folder} ./' >>{SOURCE}")
    # The lab's host has a proxy; this mirror is reached as a host without one reaches all of them.
    must(inference, f"""echo 'Acquire::http::Proxy::{NAME} "DIRECT";' >{CONFIGURATION}""")
    yield Mirror(address, client)
    inference.run(f"rm -rf {SOURCE} {CONFIGURATION} {FOLDER} /var/lib/apt/lists/{NAME}*")
    inference.run(f"dpkg --purge {' '.join(PACKAGES)}")
    wan.run(f"systemctl stop airlock-mirror; rm -rf {FOLDER}")


@pytest.fixture
def closed(site: Path, mirror: Mirror) -> Iterator[None]:
    """Begin and end without a window."""
    window(site, state="closed")
    yield
    window(site, state="closed")


def versions(host: Host) -> dict[str, str]:
    output = must(host, f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(PACKAGES)}")
    return dict(line.split() for line in output.splitlines())


def ledger(site: Path) -> list[dict[str, Any]]:
    path = site / "state" / "inference.windows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_without_a_window_nobody_fetches(inference: Host, mirror: Mirror, closed: None) -> None:
    assert (
        mirror.client.run(f"curl --silent --fail -o /dev/null {mirror.url}/security/Packages").rc
        == 0
    )
    assert inference.run(UPDATE).rc != 0
    assert {
        user: fetch(inference, user, f"{mirror.url}/security/Packages") for user in ("_apt", "root")
    } == {
        "_apt": 7,
        "root": 7,
    }


def test_in_a_window_the_package_manager_fetches_and_nobody_else(
    site: Path, inference: Host, mirror: Mirror, closed: None
) -> None:
    opened = window(
        site, state="open", destinations=[mirror.destination], minutes=5, reason="a test"
    )
    assert opened["elements"] == [f"{mirror.address} . tcp . {PORT}"]
    assert opened["pinned"]
    must(inference, UPDATE)
    url = f"http://{NAME}:{PORT}/security/Packages"
    assert {
        user: fetch(inference, user, url) for user in ("_apt", "root", "nobody", "airlock-r00")
    } == {
        "_apt": 0,
        "root": 7,
        "nobody": 7,
        "airlock-r00": 7,
    }
    # The window is to one port of one address: the same host answers the client on another.
    assert mirror.client.run(f"curl --silent --fail -o /dev/null http://{mirror.address}/").rc == 0
    assert fetch(inference, "_apt", f"http://{mirror.address}/") == 7

    ended = window(site, state="closed")
    assert ended["window"]["ended"] == "closed"
    assert ended["window"]["bytes_in"] > 1000
    assert inference.run(UPDATE).rc != 0
    assert fetch(inference, "_apt", f"{mirror.url}/security/Packages") == 7


def test_after_its_time_it_is_closed_by_nobody_and_a_download_in_flight_is_cut(
    site: Path, inference: Host, mirror: Mirror, closed: None
) -> None:
    window(site, state="open", destinations=[mirror.destination], minutes=1, reason="a test")
    begun = time.monotonic()
    slow = f"http://{NAME}:{PORT}/slow"
    must(
        inference,
        "systemd-run --quiet --collect --unit=airlock-slow --uid=_apt --property=DynamicUser=no "
        f"curl --silent --max-time 150 --output {SLOW} {slow}",
    )
    # The positive control: the same download from where no window is needed.
    mirror.client.run(f"(curl --silent --max-time 150 -o slow {mirror.url}/slow >/dev/null 2>&1 &)")

    def size(host: Host, path: str) -> int:
        return int(must(host, f"stat -c %s {path}"))

    try:
        time.sleep(max(0.0, 40 - (time.monotonic() - begun)))
        early = size(inference, SLOW)
        time.sleep(max(0.0, 50 - (time.monotonic() - begun)))
        assert size(inference, SLOW) > early > 0
        time.sleep(max(0.0, 70 - (time.monotonic() - begun)))
        cut, control = size(inference, SLOW), size(mirror.client, "slow")
        time.sleep(8)
        assert size(inference, SLOW) == cut
        assert size(mirror.client, "slow") > control
    finally:
        inference.run(f"systemctl stop airlock-slow; rm -f {SLOW}")
        mirror.client.run("pkill -u $(id -u) -x curl; rm -f slow")
    assert inference.run(UPDATE).rc != 0
    assert fetch(inference, "_apt", f"{mirror.url}/security/Packages") == 7
    assert "airlock" not in inference.file("/etc/hosts").content_string
    assert window(site, state="closed")["window"]["ended"] == "deadline"


def test_maintain_upgrades_in_a_window_and_leaves_none(
    site: Path, inference: Host, mirror: Mirror, closed: None
) -> None:
    before = len(ledger(site))
    done = maintain(
        site,
        reason="a test of maintain.yml",
        minutes=5,
        destinations=[mirror.destination],
        airlock_apt_proxy="",
    )
    assert done.returncode == 0, done.stdout
    assert f"{NAME} {mirror.address} {PORT}" in done.stdout
    # Security updates, without the GPU stack, and no more.
    assert versions(inference) == {**dict.fromkeys(PACKAGES, "1"), "airlock-probe": "2"}
    opening, ended = ledger(site)[before:]
    assert (opening["event"], opening["reason"]) == ("opening", "a test of maintain.yml")
    assert opening["destinations"] == [mirror.destination]
    assert (ended["event"], ended["ended"], ended["upgrade"]) == ("ended", "closed", "upgraded")
    assert ended["bytes_in"] > 1000
    left = window(site)
    assert (left["elements"], left["pinned"]) == ([], False)


def test_maintain_upgrades_all_but_the_gpu_stack(
    site: Path, inference: Host, mirror: Mirror, closed: None
) -> None:
    done = maintain(
        site,
        reason="all of it",
        upgrade="all",
        destinations=[mirror.destination],
        airlock_apt_proxy="",
    )
    assert done.returncode == 0, done.stdout
    found = versions(inference)
    assert found == {name: "1" if "-airlock-" in name else "2" for name in PACKAGES}


def test_maintain_closes_the_window_when_the_upgrade_fails(
    site: Path, inference: Host, mirror: Mirror, closed: None
) -> None:
    before = len(ledger(site))
    wrong = {**mirror.destination, "port": PORT + 1}
    done = maintain(site, reason="nobody is there", destinations=[wrong], airlock_apt_proxy="")
    assert done.returncode != 0
    assert "The upgrade of inference failed" in done.stdout
    ended = ledger(site)[before:][-1]
    assert (ended["event"], ended["ended"]) == ("ended", "closed")
    assert "failed" in ended["upgrade"]
    left = window(site)
    assert (left["elements"], left["pinned"]) == ([], False)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "without a reason"),
        ({"reason": "a test", "minutes": 241}, "expected 1 to 240"),
        (
            {"reason": "a test", "airlock_apt_proxy": ""},
            "wants packages from where you do not allow it",
        ),
        (
            {
                "reason": "a test",
                "airlock_apt_proxy": "",
                "destinations": [{"name": "x", "address": "127.0.0.1"}],
            },
            "no window opens towards this address",
        ),
    ],
)
def test_maintain_refuses_and_opens_nothing(
    site: Path, mirror: Mirror, variables: dict[str, Any], sentence: str
) -> None:
    done = maintain(site, **variables)
    assert done.returncode != 0
    assert sentence in " ".join(done.stdout.split())
    assert window(site)["elements"] == []
