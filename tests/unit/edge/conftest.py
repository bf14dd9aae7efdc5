# SPDX-License-Identifier: GPL-3.0-or-later
"""The real edge: HAProxy with the role's own template, a socket handed over as systemd does, and certificates of the
real authority. Behind it stands a server that says what reached it."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from ansible_collections.homelab.airlock.plugins.module_utils import tls_probe
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    authority_attacks,
    certificate_requests,
    certificates,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import Authority, pem
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/gateway"
SCOPE = Scope.of(["ai.home.arpa"], ["127.0.0.1"])
# Seconds after its worker is there until the master surely takes signals: one that comes earlier is lost.
_SETTLE = 0.5
# What systemd does between fork and exec (sd_listen_fds(3)).
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the header and the body that reached it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size).decode()
        said = {"path": self.path, "headers": self.headers.items(), "body": body}
        data = json.dumps({**said, "headers": list(said["headers"])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class Edge:
    """A running edge and the authority that it believes."""

    def __init__(self, base: Path):
        self.base = base
        self.site = base / "site"
        self.run = base / "run"
        self.run.mkdir()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        with self.authority() as authority:
            authority.ensure(SCOPE, 90)
            certificate_requests.keep_clients(authority, {"alice": {}}, 90, 90)
        with self.authority() as authority:
            self.visitors = authority_attacks.visitors(authority)
        self.alice = "".join(
            (self.site / f"secrets/clients/alice.{suffix}").read_text() for suffix in ("pem", "key")
        )
        self.certify()
        self.hand_over()

    def authority(self) -> Any:
        return Authority.opened(self.site, datetime.now(timezone.utc))

    @property
    def ca(self) -> str:
        return (self.site / "pki/ca.pem").read_text()

    def certify(self) -> None:
        """Make another key and certificate for the host."""
        key = certificates.make_key()
        with self.authority() as authority:
            chain = authority.sign(
                "host", "edge", key.public_key(), timedelta(days=90), server=SCOPE
            )
        (self.run / "edge.pem.key").write_bytes(pem(key))
        (self.run / "edge.pem").write_bytes(chain)

    def hand_over(self) -> None:
        """Place what the unit's ExecReload places."""
        pki = self.site / "pki"
        for name, parts in (("clients.pem", ("issuing.pem", "ca.pem")),
                            ("clients.crl", ("issuing.crl", "root.crl"))):  # fmt: skip
            (self.run / name).write_bytes(b"".join((pki / part).read_bytes() for part in parts))

    def start(self, **settings: Any) -> None:
        path = self.base / "haproxy.cfg"
        path.write_text(_render(self.run, self.base / "gate.sock", settings))
        log = os.open(self.base / "log", os.O_WRONLY | os.O_CREAT)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _HAND_OVER,
                str(self.listener.fileno()),
                "haproxy",
                "-Ws",
                "-f",
                str(path),
            ],
            pass_fds=(self.listener.fileno(),),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        os.close(log)
        self.wait(lambda: self.loaded() > 0)
        time.sleep(_SETTLE)

    def reload(self) -> None:
        """Have it read its files anew, and wait for the new process to serve."""
        assert self.process is not None
        before, loaded = self.workers(), self.loaded()
        self.process.send_signal(signal.SIGUSR2)
        self.wait(lambda: bool(self.workers() - before) and self.loaded() > loaded)
        time.sleep(_SETTLE)

    def loaded(self) -> int:
        """Return how often a worker was ready."""
        return (self.base / "log").read_text().count("Loading success")

    def workers(self) -> set[str]:
        assert self.process is not None
        pid = self.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not until():
            assert time.monotonic() < end, (self.base / "log").read_text()
            time.sleep(0.05)

    def shake(
        self, *, certificate: str = "", version: str = "", plain: bool = False, timeout: float = 5
    ) -> tls_probe.Outcome:
        attempt = tls_probe.Attempt(
            "x",
            "127.0.0.1",
            self.port,
            "answered",
            version=version,
            ca=self.ca,
            certificate=certificate,
            plain=plain,
        )
        return tls_probe.perform(attempt, timeout)

    def connect(self, certificate: str = "") -> ssl.SSLSocket:
        context = ssl.create_default_context(cadata=self.ca)
        if certificate:
            tls_probe.present(context, certificate)
        connection = socket.create_connection(("127.0.0.1", self.port), 5)
        return context.wrap_socket(connection, server_hostname="127.0.0.1")

    def send(self, data: bytes, certificate: str = "") -> tuple[int, dict[str, Any]]:
        """Send ``data`` as it is; return the status and what reached the server behind."""
        with self.connect(certificate) as session:
            session.sendall(data)
            response = http.client.HTTPResponse(session)
            response.begin()
            return response.status, json.loads(response.read() or b"{}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
        self.listener.close()


def _render(run: Path, gate: Path, settings: dict[str, Any]) -> str:
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    values.update(yaml.safe_load((ROLE / "vars/main/main.yml").read_text()))
    values.update({"airlock_authentication": "tls", "gateway_listen_addresses": [], **settings})
    level = values["airlock_authentication"]
    environment = jinja2.Environment(  # noqa: S701 - it renders a configuration, not HTML
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
    )  # fmt: skip
    name = {"key": "", "tls": "__gateway_bind_tls"}.get(level, "__gateway_bind_mtls")
    bind = environment.from_string(values[name] if name else "").render(values)
    text = environment.get_template("haproxy.cfg.j2").render({**values, "__gateway_bind": bind})
    text = text.replace("/run/airlock/edge", str(run))
    return text.replace("/run/airlock/gatekeeper/http.sock", str(gate)) + "\n"


@pytest.fixture(scope="module")
def edge_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Edge]]:
    """Start edges, each with settings of its own; all end with the module."""
    started: list[tuple[Edge, _UnixServer]] = []

    def start(**settings: Any) -> Edge:
        edge = Edge(tmp_path_factory.mktemp("edge"))
        server = _UnixServer(str(edge.base / "gate.sock"), _Echo)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append((edge, server))
        edge.start(**settings)
        return edge

    yield start
    for edge, server in started:
        edge.stop()
        server.shutdown()
        server.server_close()
