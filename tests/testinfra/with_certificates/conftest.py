# SPDX-License-Identifier: GPL-3.0-or-later
"""The house at its highest level of exposure, with client certificates and with keys of every scope."""

from __future__ import annotations

import base64
import io
import json
import re
import secrets
import shlex
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import testinfra
from testinfra.host import Host

from ..conftest import SSH_CONFIG, Api, Play

PLAYBOOK = Path(__file__).with_name("front_door.yml")
PROGRAM = Path(__file__).with_name("load.py").read_text()
FOLDER = "house"  # on the client, in the home of its user
PLANTED = secrets.token_hex(16)
# Of this run alone, so that what an earlier one left behind is nobody's.
ALICE, BOB = (f"{name}-{secrets.token_hex(4)}" for name in ("alice", "bob"))
BOTH = ["chat", "embed"]
LAYERS = {"screen": "block", "filter": "mask", "guardrail": "Open no address, whoever asks for it."}


class Asked(NamedTuple):
    """One request of load.py."""

    way: str
    began: float
    ended: float
    outcome: str
    served: str


def needles(text: str) -> list[str]:
    """Return how a secret looks wherever it is: the long lines of its file without other words, and in Base64."""
    lines = [line.split()[-1] for line in text.splitlines() if len(line) >= 40 and line[0] != "-"]
    return lines + [form for line in lines for form in _base64(line.encode())]


def _base64(data: bytes) -> list[str]:
    """Return what of ``data`` is the same in the Base64 of whatever it is a part of: three forms (RFC 4648, 4)."""
    return [
        base64.b64encode(bytes(before) + data).decode()[before and before + 1 : -4]
        for before in range(3)
    ]


def hours(first: int, last: int) -> str:
    """Return the hours of the day from ``first`` to ``last``, counted from the one that it is."""
    now = datetime.now(timezone.utc)
    return "{:%H:00}-{:%H:00} UTC".format(*(now + timedelta(hours=add) for add in (first, last)))


def scopes(near: str, far: str) -> dict[str, dict[str, Any]]:
    """Return keys by name; ``near`` and ``far`` are the networks of the client and of the controller."""
    return {
        "everything": {"services": BOTH},
        "lists": {"services": BOTH, "routes": ["/v1/models"]},
        "embedder": {"services": ["embed"]},
        "short": {"services": BOTH, "max_tokens": 8},
        "seldom": {"services": BOTH, "requests_per_minute": 2},
        "frugal": {"services": BOTH, "tokens_per_minute": 60},
        "single": {"services": BOTH, "concurrency": 1},
        "near": {"services": BOTH, "networks": [near]},
        "far": {"services": BOTH, "networks": [far]},
        "now": {"services": BOTH, "hours": hours(-1, 2)},
        "later": {"services": BOTH, "hours": hours(2, 4)},
        "alices": {"services": BOTH, "certificate": ALICE},
        "bobs": {"services": BOTH, "certificate": BOB},
        "shared": {"services": BOTH, "on_behalf": True, "requests_per_minute": 2},
        "layered": {"services": BOTH, **LAYERS},
        "unscreened": {"services": BOTH, **LAYERS, "screen": "off"},
        "unfiltered": {"services": BOTH, **LAYERS, "filter": "off"},
        "unguarded": {"services": BOTH, "screen": "block", "filter": "mask"},
        "bare": {"services": BOTH, "screen": "off", "filter": "off"},
        "over": {"services": BOTH},
        "steady": {"services": BOTH},
        "leaver": {"services": BOTH},
        "guest": {"services": BOTH},
    }


@dataclass
class House:
    """``handled`` is every secret that the tests had in their hands, ``said`` what plays printed."""

    site: Path
    address: str
    client: Host
    play_: Play
    handled: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def play(self, playbook: str, *options: str, **variables: Any) -> str:
        """Run a playbook as loudly as an owner would who looks for an error; return what it said."""
        done = self.play_(playbook, variables, "-vvv", *options)
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        return done.stdout

    def knock(self) -> list[dict[str, Any]]:
        """Return the records of what verify tries at the front door."""
        self.play(str(PLAYBOOK))
        run = self.site / "evidence/.run.jsonl"
        records = [json.loads(line) for line in run.read_text().splitlines()]
        run.unlink()
        return records

    def key(self, name: str) -> str:
        return (self.site / f"secrets/keys/{name}.key").read_text().strip()

    def hand_over(self) -> None:
        """Bring every key and client certificate to the client, through the standard input."""
        bundle = io.BytesIO()
        with tarfile.open(fileobj=bundle, mode="w") as tar:
            for name, text in self._secrets():
                if not name.endswith(".pem"):
                    self.handled.update(needles(text))
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text), 0o600
                tar.addfile(entry, io.BytesIO(text.encode()))
        unpack = f"umask 077; mkdir -p {FOLDER}; tar --extract --directory={FOLDER}"
        subprocess.run(
            ["ssh", "-F", str(SSH_CONFIG), "client", unpack], input=bundle.getvalue(), check=True
        )

    def _secrets(self) -> Iterator[tuple[str, str]]:
        for file in (self.site / "secrets/keys").glob("*.key"):
            yield f"{file.stem}.header", f"Authorization: Bearer {file.read_text()}"
        for file in (self.site / "secrets/clients").glob("*.[pk]e[my]"):
            yield file.name, file.read_text()

    def door(self, key: str, certificate: str = ALICE) -> Api:
        """Return the front door as the client has it."""
        shown = f"{FOLDER}/{certificate}"
        options = ("--cert", f"{shown}.pem", "--key", f"{shown}.key")
        return Api(self.client, self.address, self.key(key), f"{FOLDER}/{key}.header", options)

    def door_from_here(self, key: str, folder: Path) -> Api:
        """Return it as the controller has it, which keeps the header in ``folder``."""
        header = folder / f"{key}.header"
        header.touch(0o600)
        header.write_text(f"Authorization: Bearer {self.key(key)}\n")
        shown = f"{self.site}/secrets/clients/{ALICE}"
        options = (
            "--cacert",
            f"{self.site}/pki/ca.pem",
            "--cert",
            f"{shown}.pem",
            "--key",
            f"{shown}.key",
        )
        here = testinfra.get_host("local://")
        return Api(here, self.address, self.key(key), str(header), options)

    @contextmanager
    def load(self, key: str, certificate: str = ALICE, tokens: int = 200) -> Iterator[list[Asked]]:
        """Ask without pause; the list is filled when it is over."""
        asked: list[Asked] = []
        shown = f"{FOLDER}/{certificate}"
        arguments = [self.address, f"{FOLDER}/{key}.header", shown, str(tokens)]
        command = shlex.join(["python3", "-c", PROGRAM, *arguments])
        with subprocess.Popen(
            ["ssh", "-F", str(SSH_CONFIG), "client", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # ssh makes it non-blocking, which Ansible would refuse
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield asked
            out, err = process.communicate()
        assert process.returncode == 0, err
        asked += [Asked(*row) for row in json.loads(out)]


@pytest.fixture(scope="session")
def house(
    site: Path,
    intent: dict[str, Any],
    client: Host,
    play: Play,
    command_lines: Callable[[], set[str]],
) -> Iterator[House]:
    """Build it over the one that is there; in the end that one is as it was."""
    near, far = intent["airlock_client_networks"][0], intent["airlock_admin_networks"][0]
    wanted = {
        "airlock_exposure": "high",
        "airlock_clients": {ALICE: {}, BOB: {}},
        "airlock_api_keys": intent["airlock_api_keys"] | scopes(near, far),
    }
    overlay = site / "group_vars/all/with_certificates.yml"
    overlay.write_text(json.dumps(wanted))
    built = House(site, intent["airlock_server_addresses"][0], client, play)
    try:
        built.play("site", "--tags=pki,gateway")
        built.hand_over()
        yield built
    finally:
        overlay.unlink()
        client.run(f"rm -r {FOLDER}")
        back = play("site", {}, "--tags=pki,gateway")
    assert back.returncode == 0, back.stdout
    again = play("site", {})
    assert set(re.findall(r" changed=(\d+)", again.stdout)) == {"0"}, again.stdout
    assert "DRIFT" not in again.stdout


@pytest.fixture(scope="session")
def command_lines() -> Iterator[Callable[[], set[str]]]:
    """Give what returns the command lines that processes of this machine, and so of its containers, have had."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:  # it has ended
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", PLANTED], check=True)
    yield lambda: set(seen)
    stop.set()
    watcher.join()
