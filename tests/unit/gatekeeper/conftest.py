# SPDX-License-Identifier: GPL-3.0-or-later
"""The real gatekeeper as a process of its own, as systemd would start it, before a small runtime."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys
from ansible_collections.homelab.airlock.plugins.plugin_utils import zipapp

ROOT = Path(__file__).parents[3]
FILES = ROOT / "roles/gateway/files"
SETTINGS = {
    "max_concurrent": 4,
    "max_concurrent_per_key": 3,
    "body_timeout": 1,
    "idle_timeout": 2,
    "drain_timeout": 5,
}
# What systemd does between fork and exec (sd_listen_fds(3)).
_HAND_OVER = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS=sys.argv[2], LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[4:]])
"""


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection through a Unix socket."""

    def __init__(self, path: Path, timeout: float = 10):
        super().__init__("gatekeeper", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Runtime:
    """Stands for a model: answers as ``behave`` says, and keeps what it was sent."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.behave: Callable[[BaseHTTPRequestHandler], None] = lambda handler: reply(
            handler, {"object": "answer"}
        )
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                runtime.requests.append((self.path, dict(self.headers), json.loads(body)))
                runtime.behave(self)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *arguments: object) -> None:
                """Stay quiet."""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(handler: BaseHTTPRequestHandler, document: Any, status: int = 200) -> None:
    reply_raw(handler, json.dumps(document).encode(), status)


def reply_raw(handler: BaseHTTPRequestHandler, data: bytes, status: int) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def begin_stream(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def send_chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    handler.wfile.flush()


class House:
    """A gatekeeper with its files.

    ``key`` opens ``chat`` and ``embed``, ``other`` only ``embed``, ``third`` only ``chat``.
    """

    def __init__(self, base: Path):
        self.base = base
        self.config = base / "config"
        self.audit = base / "audit.jsonl"
        self.socket = base / "http.sock"
        self.config.mkdir()
        shutil.copytree(
            FILES / "gatekeeper",
            base / "lib/gatekeeper",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (base / "lib/airlock.pyz").write_bytes(
            zipapp.build("airlock", ROOT / "plugins/module_utils")
        )
        shutil.copy(FILES / "routes.json", self.config)
        now = datetime.now(timezone.utc)
        self.key, self.record = api_keys.generate("alice", ["chat", "embed"], days=1, now=now)
        self.other, self.other_record = api_keys.generate("bob", ["embed"], days=1, now=now)
        self.third, third_record = api_keys.generate("dora", ["chat"], days=1, now=now)
        self.expired, expired_record = api_keys.generate(
            "carol", ["chat"], days=1, now=now - timedelta(days=2)
        )
        self.place("settings.json", SETTINGS)
        self.place_keys(self.record, self.other_record, third_record, expired_record)
        self.place_slots("chat-1")
        self.runtime = Runtime(base / "run/chat-1/http.sock")
        self.process: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._connections: list[UnixConnection] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen()

    def place(self, name: str, document: Any) -> None:
        """Replace a file as the roles do."""
        temporary = self.config / f".{name}"
        temporary.write_text(document if isinstance(document, str) else json.dumps(document))
        temporary.replace(self.config / name)

    def place_keys(self, *records: api_keys.KeyRecord) -> None:
        self.place("keys.json", {"keys": [record.as_dict() for record in records]})

    def place_slots(self, release: str | None) -> None:
        services = {
            "chat": {"current": release, "previous": None, "mode": "chat"},
            "embed": {"current": "embed-1", "previous": None, "mode": "embedding"},
            "secret": {"current": "secret-1", "previous": None, "mode": "chat"},
        }
        self.place("slots.json", {"services": services})

    def start(self, *, sockets: str = "1", file_limit: int = -1) -> subprocess.Popen[str]:
        """Start the gatekeeper; it can write no file beyond ``file_limit`` bytes (-1: any size)."""
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _HAND_OVER,
                str(self._listener.fileno()),
                sockets,
                str(file_limit),
                "-I",
                str(self.base / "lib/gatekeeper"),
                f"--config={self.config}",
                f"--runtimes={self.base / 'run'}",
                f"--audit={self.audit}",
            ],
            pass_fds=(self._listener.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(self.process)
        return self.process

    def stop(self) -> str:
        """Stop the gatekeeper as systemd does; return what it had to say."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _out, err = self.process.communicate(timeout=20)
        return err

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        for connection in self._connections:
            connection.close()
        self._listener.close()
        self.runtime.close()

    def connect(self) -> UnixConnection:
        self._connections.append(UnixConnection(self.socket))
        return self._connections[-1]

    def ask(
        self,
        method: str = "GET",
        path: str = "/v1/models",
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send one request; return the status and the parsed body."""
        connection = self.connect()
        sent = {"X-Airlock-Client": "::ffff:10.1.2.3", **(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            with connection.getresponse() as response:
                return response.status, json.loads(response.read())

    def chat(self, *, key: str | None = None, **fields: Any) -> tuple[int, Any]:
        body = {"model": "chat", "messages": [{"role": "user", "content": "PROMPT"}], **fields}
        return self.ask("POST", "/v1/chat/completions", body, key=key or self.key)

    def stream(self) -> http.client.HTTPResponse:
        connection = self.connect()
        body = {
            "model": "chat",
            "messages": [{"role": "user", "content": "PROMPT"}],
            "stream": True,
        }
        headers = {"Content-Type": "application/json", "x-api-key": self.key}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return connection.getresponse()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture
def cold_house() -> Iterator[House]:
    """A house whose gatekeeper was not started yet."""
    # Not tmp_path: the path of a Unix socket has 108 bytes at most (unix(7)).
    with tempfile.TemporaryDirectory(prefix="gk-") as base:
        house = House(Path(base))
        yield house
        house.close()


@pytest.fixture
def house(cold_house: House) -> House:
    cold_house.start()
    cold_house.ask("GET", "/health")  # it is ready; the tests count from here
    cold_house.audit.write_text("")
    return cold_house


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
