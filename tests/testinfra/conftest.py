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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
STORY = {
    "model": "chat",
    "messages": [{"role": "user", "content": "Tell a very long story about a lighthouse."}],
    "max_tokens": 1500,
    "stream": True,
    "logit_bias": {"2": -100},  # the end of an answer, which would be too early
}

Play = Callable[..., "subprocess.CompletedProcess[str]"]


def host_of(name: str, *, sudo: bool) -> Host:
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(SSH_CONFIG), sudo=sudo)


@contextmanager
def witnessed(program: str, *arguments: str, linger: float) -> Iterator[dict[str, Any]]:
    """Run a witness as root on the host outside; what it prints as JSON is under ``seen`` when all is over.

    It is there when it has said ``ready``, stays ``linger`` seconds longer, and ends with its standard input.
    """
    found: dict[str, Any] = {}
    command = shlex.join(["sudo", "python3", "-c", program, *arguments])
    with subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "wan", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield found
        time.sleep(linger)
        out, err = process.communicate()
    assert process.returncode == 0, err
    found["seen"] = json.loads(out)


def key_file(intent: dict[str, Any], number: int = 0) -> Path:
    return SITE / "secrets" / "keys" / f"{list(intent['airlock_api_keys'])[number]}.key"


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
    header: str = "api.header"
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"https://{self.address}:8443"

    def ask(
        self, path: str, body: Any = None, *options: str, key: bool = True, url: str = ""
    ) -> Answer:
        """Send one request with curl; ``body`` makes it a POST of that JSON."""
        command = ["curl", "--silent", "--max-time", "120", "--write-out", STATUS]
        command += [*self.options, *options]
        if key:
            command += ["--header", f"@{self.header}"]
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
def play() -> Play:
    """Return what runs a playbook on the site: its name in the collection or its path, extra variables, options."""

    def run(
        playbook: str, variables: dict[str, Any], *options: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "-i", str(SITE / "inventory.yml"), *options]
        name = playbook if "/" in playbook else f"homelab.airlock.{playbook}"
        return subprocess.run(
            [*command, name, "-e", json.dumps(variables)],
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


def api_of(client: Host, intent: dict[str, Any], number: int, header: str) -> Api:
    key = key_file(intent, number).read_text().strip()
    # Through the standard input, so that the key is in no argument list.
    subprocess.run(
        ["ssh", "-F", str(SSH_CONFIG), "client", f"umask 077; cat >{header}"],
        input=f"Authorization: Bearer {key}\n",
        text=True,
        check=True,
    )
    return Api(client, intent["airlock_server_addresses"][0], key, header)


@pytest.fixture(scope="session")
def api(client: Host, intent: dict[str, Any]) -> Api:
    return api_of(client, intent, 0, "api.header")


@pytest.fixture(scope="session")
def other_api(client: Host, intent: dict[str, Any]) -> Api:
    """Return the same door for the second key of the site."""
    return api_of(client, intent, 1, "other.header")


@pytest.fixture(scope="session")
def controller(intent: dict[str, Any]) -> tuple[Path, Path]:
    """Return the files with the certificate authority and the API key, as they lie on this machine."""
    return SITE / "pki" / "ca.pem", key_file(intent)
