# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge and gatekeeper add to a request, as ratios within one run.

Starts a small runtime, the real gatekeeper and the real edge (HAProxy with the role's own
configuration) on this machine, asks each of three doors in turn (the runtime's socket, the
gatekeeper's socket, TLS through the edge) and prints medians. An answer other than 200 voids the
run. Needs haproxy, openssl, jinja2 and aiohttp; touches nothing outside a temporary directory.

    python3 tests/bench/gateway.py [--requests 300] [--rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import importlib.util
import json
import os
import shutil
import socket
import socketserver
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import jinja2
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/gateway"
PROMPT = {"model": "chat", "messages": [{"role": "user", "content": "x" * 800}], "max_tokens": 8}
ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": "hi"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
).encode()
# What systemd does between fork and exec (sd_listen_fds(3)).
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Runtime(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for header and body

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path):
        super().__init__("door")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_key(base: Path) -> str:
    """Build the library as hosts get it, and a key with it; return the key."""
    archive = base / "lib/airlock.pyz"
    archive.parent.mkdir()
    archive.write_bytes(
        load(ROOT / "plugins/plugin_utils/zipapp.py").build(
            "airlock", ROOT / "plugins/module_utils"
        )
    )
    sys.path.insert(0, str(archive))
    from airlock import api_keys

    text, record = api_keys.generate("bench", ["chat"], days=1, now=datetime.now(timezone.utc))
    config = base / "config"
    config.mkdir()
    (config / "keys.json").write_text(json.dumps({"keys": [record.as_dict()]}))
    (config / "slots.json").write_text(
        '{"services":{"chat":{"current":"chat-1","previous":null,"mode":"chat"}}}'
    )
    limits = {
        "max_concurrent": 64,
        "max_concurrent_per_key": 64,
        "body_timeout": 30,
        "idle_timeout": 60,
        "drain_timeout": 1,
    }
    (config / "settings.json").write_text(json.dumps(limits))
    shutil.copy(ROLE / "files/routes.json", config)
    return text


@contextlib.contextmanager
def running(listener: socket.socket, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HAND_OVER, str(listener.fileno()), *command],
        pass_fds=(listener.fileno(),),
        stdout=subprocess.DEVNULL,
        env={**os.environ, "CREDENTIALS_DIRECTORY": str(Path(command[-1]).parent)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def edge_config(base: Path) -> Path:
    """Render the role's own template and make a certificate beside it; return the configuration."""
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    values.update(yaml.safe_load((ROLE / "vars/main.yml").read_text()))
    values["__gateway_digests"] = {values["__gateway_certificate"]: "bench"}
    values["gateway_requests_per_client"] = 10**9
    environment = jinja2.Environment(  # noqa: S701 - it renders a configuration, not HTML
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("haproxy.cfg.j2").render(values)
    edge = base / "edge"
    edge.mkdir()
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += [
        "-keyout",
        str(edge / "edge.pem.key"),
        "-out",
        str(edge / "edge.pem"),
        "-subj",
        "/CN=bench",
    ]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    path = edge / "haproxy.cfg"
    path.write_text(
        text.replace("/run/airlock/gatekeeper/http.sock", str(base / "gate.sock")) + "\n"
    )
    return path


def ask(connection: http.client.HTTPConnection, key: str, count: int) -> list[float]:
    """Return the milliseconds of ``count`` requests over one warm connection."""
    body = json.dumps(PROMPT)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    times = []
    for _one in range(count):
        started = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        response.read()
        times.append((time.perf_counter() - started) * 1000)
        if response.status != 200:
            raise SystemExit(f"void: a request was answered with {response.status}")
    return times


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests", type=int, default=300, help="requests of a round at each door"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gw-") as place, contextlib.ExitStack() as stack:
        base = Path(place)
        key = make_key(base)
        shutil.copytree(ROLE / "files/gatekeeper", base / "lib/gatekeeper")
        (base / "run/chat-1").mkdir(parents=True)
        runtime = UnixServer(str(base / "run/chat-1/http.sock"), Runtime)
        threading.Thread(target=runtime.serve_forever, daemon=True).start()
        stack.callback(runtime.shutdown)

        gate_socket = stack.enter_context(socket.socket(socket.AF_UNIX))
        gate_socket.bind(str(base / "gate.sock"))
        gate_socket.listen(128)
        edge_socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        gatekeeper = [
            sys.executable,
            "-I",
            str(base / "lib/gatekeeper"),
            f"--config={base / 'config'}",
        ]
        gatekeeper += [f"--audit={base / 'audit.jsonl'}", f"--runtimes={base / 'run'}"]
        gate = stack.enter_context(running(gate_socket, *gatekeeper))
        edge = stack.enter_context(
            running(edge_socket, "haproxy", "-db", "-f", str(edge_config(base)))
        )

        context = ssl.create_default_context(cafile=str(base / "edge/edge.pem"))
        port = edge_socket.getsockname()[1]
        doors: dict[str, Callable[[], http.client.HTTPConnection]] = {
            "runtime, direct": lambda: UnixConnection(base / "run/chat-1/http.sock"),
            "through the gatekeeper": lambda: UnixConnection(base / "gate.sock"),
            "TLS, edge and gatekeeper": lambda: http.client.HTTPSConnection(
                "127.0.0.1", port, context=context
            ),
        }
        connections = {name: make() for name, make in doors.items()}
        for connection in connections.values():
            ask(connection, key, 20)
        before = cpu_seconds(gate.pid) + cpu_seconds(edge.pid)
        rounds: dict[str, list[list[float]]] = {name: [] for name in doors}
        for _round in range(options.rounds):
            for name, connection in connections.items():
                rounds[name].append(ask(connection, key, options.requests))
        used = cpu_seconds(gate.pid) + cpu_seconds(edge.pid) - before

        base_line = statistics.median(map(statistics.median, rounds["runtime, direct"]))
        for name, samples in rounds.items():
            middle = statistics.median(map(statistics.median, samples))
            tail = statistics.median(sorted(times)[int(len(times) * 0.99)] for times in samples)
            print(
                f"{name:26} p50 {middle:6.2f} ms   p99 {tail:6.2f} ms   {middle / base_line:4.1f} x direct"
            )
        served = options.requests * options.rounds * 2
        print(f"CPU of edge and gatekeeper: {used / served * 1e6:.0f} us a request")
        print(f"memory: gatekeeper {rss_mib(gate.pid):.0f} MiB, edge {rss_mib(edge.pid):.0f} MiB")
        lines = len((base / "audit.jsonl").read_text().splitlines())
        if lines != served + 40:
            raise SystemExit(f"void: {served + 40} requests left {lines} audit lines")


if __name__ == "__main__":
    main()
