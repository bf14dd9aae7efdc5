# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as tests see it: its hosts over SSH as their administrator, and its API as a client has it.

AIRLOCK_SITE names the site directory; by default that of `make lab`. Only host.run, host.file, host.service and
host.socket are used.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

SITE = Path(os.environ.get("AIRLOCK_SITE", ".lab/site")).absolute()
STATUS = "\n%{http_code}"
JSON = ("--header", "Content-Type: application/json", "--data-binary")
SSH_CONFIG = SITE.parent / "ssh" / "config"


def host_of(name: str, *, sudo: bool) -> Host:
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(SSH_CONFIG), sudo=sudo)


def key_file(intent: dict[str, Any]) -> Path:
    return SITE / "secrets" / "keys" / f"{next(iter(intent['airlock_api_keys']))}.key"


@dataclass(frozen=True)
class Answer:
    """What curl got: its exit status, the status of HTTP (0 without one) and the body."""

    rc: int
    status: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Api:
    """The house from the client: ``key`` lies there in a file, and the system trusts its authority."""

    client: Host
    address: str
    key: str

    @property
    def url(self) -> str:
        return f"https://{self.address}:8443"

    def ask(
        self, path: str, body: Any = None, *options: str, key: bool = True, url: str = ""
    ) -> Answer:
        """Send one request with curl; ``body`` makes it a POST of that JSON."""
        command = ["curl", "--silent", "--max-time", "120", "--write-out", STATUS, *options]
        if key:
            command += ["--header", "@api.header"]
        if body is not None:
            command += [*JSON, json.dumps(body)]
        result = self.client.run(shlex.join([*command, (url or self.url) + path]))
        text, _line_end, status = result.stdout.rpartition("\n")
        return Answer(result.rc, int(status or 0), text)

    def chat(self, question: str, *options: str, **fields: Any) -> Answer:
        message = {"role": "user", "content": question}
        body = {"model": "chat", "messages": [message], **fields}
        return self.ask("/v1/chat/completions", body, *options)


@pytest.fixture(scope="session")
def site() -> Path:
    return SITE


@pytest.fixture(scope="session")
def intent() -> dict[str, Any]:
    """Return the variables of the site; those of the lab come last."""
    found: dict[str, Any] = {}
    for file in sorted((SITE / "group_vars" / "all").glob("*.yml")):
        found |= yaml.safe_load(file.read_text())
    return found


@pytest.fixture(scope="session")
def play() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs a playbook of the collection on the site: its name, extra variables, options."""

    def run(
        playbook: str, variables: dict[str, Any], *options: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", str(SITE / "inventory.yml"), *options]
        return subprocess.run(
            [*command, f"homelab.airlock.{playbook}", "-e", json.dumps(variables)],
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def inference() -> Host:
    return host_of("inference", sudo=True)


@pytest.fixture(scope="session")
def client() -> Host:
    return host_of("client", sudo=False)


@pytest.fixture(scope="session")
def releases(inference: Host) -> dict[str, str]:
    """Return the current release of each service."""
    slots = json.loads(inference.file("/etc/airlock/gateway/slots.json").content_string)
    return {name: service["current"] for name, service in slots["services"].items()}


@pytest.fixture(scope="session")
def api(client: Host, intent: dict[str, Any]) -> Api:
    key = key_file(intent).read_text().strip()
    # Through the standard input, so that the key is in no argument list.
    subprocess.run(
        ["ssh", "-F", str(SSH_CONFIG), "client", "umask 077; cat >api.header"],
        input=f"Authorization: Bearer {key}\n",
        text=True,
        check=True,
    )
    return Api(client, intent["airlock_server_addresses"][0], key)


@pytest.fixture(scope="session")
def controller(intent: dict[str, Any]) -> tuple[Path, Path]:
    """Return the files with the certificate authority and the API key, as they lie on this machine."""
    return SITE / "pki" / "ca.pem", key_file(intent)
