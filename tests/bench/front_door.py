# SPDX-License-Identifier: GPL-3.0-or-later
"""The front door on this machine, for benches: a stub runtime, the real writer of the audit trail, the real gatekeeper
and the real edge, HAProxy with the role's own configuration. Each is a process of its own.

Needs haproxy, openssl and jinja2; touches nothing outside a temporary directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import jinja2
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/gateway"
AUDIT = ROOT / "roles/audit/files/audit"
STUB = ROOT / "tests/bench/stub.py"
PROMPT = {"model": "chat", "messages": [{"role": "user", "content": "x" * 800}], "max_tokens": 8}
# What systemd does between fork and exec (sd_listen_fds(3)).
HAND_OVER = """
import os, sys
numbers, names = sys.argv[1].split(), sys.argv[2]
for index, number in enumerate(numbers):
    os.dup2(int(number), 3 + index)
os.environ.update(LISTEN_FDS=str(len(numbers)), LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[3], sys.argv[3:])
"""
FIRST_KEY = bytes(range(32))
SEGMENTS = 64 * 1024 * 1024  # bytes of the trail that are in memory at a time while it is proven


@dataclass(frozen=True)
class FrontDoor:
    """What stands: its key, its ports on 127.0.0.1, and the ids of the processes that serve."""

    base: Path
    key: str
    runtime_port: int
    edge_port: int
    runtime: int
    gatekeeper: int
    edge: int
    writer: int

    @property
    def runtime_socket(self) -> Path:
        return self.base / "run/chat-1/http.sock"

    @property
    def gatekeeper_socket(self) -> Path:
        return self.base / "gate.sock"

    @property
    def writer_socket(self) -> Path:
        return self.base / "writer.sock"

    @property
    def certificate(self) -> Path:
        """The edge's certificate and, at the same name with .key, its private key."""
        return self.base / "edge/edge.pem"

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@dataclass(frozen=True)
class Proven:
    """What the trail of a run holds: how many requests ended with which status; microseconds to prove a record."""

    done: Counter[int]
    each: float


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
    from airlock import api_keys, releases

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
        "answer_timeout": 3600,
        "drain_timeout": 1,
    }
    (config / "settings.json").write_text(json.dumps(limits))
    shutil.copytree(ROLE / "files/routes", config / "routes")
    shutil.copytree(ROLE / "files/screens", config / "screens")
    screening = {
        "screen": "flag",
        "filter": "mask",
        "uncertain": False,
        "categories": ["secrets", "pii", "control", "active"],
        "canaries": [],
        "link_hosts": [],
    }
    (config / "screening.json").write_text(json.dumps(screening))
    release = releases.LaunchConfig(
        "chat-1a2b3c4d", "chat", "llama_cpp", "/r", "/m", "/s", releases.Flags(parallel=16)
    )
    (base / "releases").mkdir()
    (base / "releases/chat-1.json").write_text(json.dumps(release.document()))
    return text


@contextlib.contextmanager
def running(
    listeners: dict[str, socket.socket], *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    # Out of the way of 3 and 4, where they are wanted.
    numbers = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 10) for each in listeners.values()]
    handed = [" ".join(map(str, numbers)), ":".join(listeners)]
    process = subprocess.Popen(
        [sys.executable, "-c", HAND_OVER, *handed, *command],
        pass_fds=numbers,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener


def on_loopback() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def proxying(
    listener: socket.socket, config: Path
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run HAProxy, in the foreground as one process, with the socket that ``config`` binds."""
    return running({"airlock-edge.socket": listener}, "haproxy", "-db", "-f", str(config))


@contextlib.contextmanager
def writing(base: Path, python: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the writer of the audit trail, as its unit does, on ``python``."""
    from airlock import audit_key

    for name in ("audit", "content"):
        (base / name).mkdir()
    audit_key.begin(str(base / "key"), audit_key.Held("00" * 8, 1, FIRST_KEY))
    shutil.copytree(AUDIT, base / "lib/audit")
    command = [python, "-I", str(base / "lib/audit"), f"--directory={base / 'audit'}"]
    command += [f"--key={base / 'key'}", f"--content={base / 'content'}"]
    command += [f"--peer={pwd.getpwuid(os.getuid()).pw_name}"]
    with (
        listening(base / "writer.sock") as listener,
        running({"airlock-audit.socket": listener}, *command) as process,
    ):
        yield process


def make_certificate(path: Path) -> None:
    """Make a certificate for 127.0.0.1 that signs itself, and its key where HAProxy looks for it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=bench", "-out", str(path)]
    command += ["-keyout", f"{path}.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)


def edge_config(base: Path) -> Path:
    """Render the role's own template and make a certificate beside it; return the configuration."""
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    values.update(yaml.safe_load((ROLE / "vars/main/main.yml").read_text()))
    edge = base / "edge"
    values["airlock_authentication"] = "tls"
    values["gateway_listen_addresses"] = []
    values["__gateway_bind"] = f" ssl crt {edge}/edge.pem alpn http/1.1"
    values["gateway_requests_per_client"] = 10**9
    environment = jinja2.Environment(  # noqa: S701 - it renders a configuration, not HTML
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("haproxy.cfg.j2").render(values)
    edge.mkdir()
    make_certificate(edge / "edge.pem")
    path = edge / "haproxy.cfg"
    path.write_text(
        text.replace("/run/airlock/gatekeeper/http.sock", str(base / "gate.sock")) + "\n"
    )
    return path


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def proven(base: Path) -> Proven:
    """Prove the whole trail; a trail that is not whole voids the run."""
    from airlock import audit_proof, audit_segments

    prover = audit_proof.Prover(FIRST_KEY)
    done: Counter[int] = Counter()
    used, last, complete = 0.0, 0, False
    while not complete:
        segments, complete = audit_segments.read_after(str(base / "audit"), last, SEGMENTS)
        for _first, data in segments:
            started = time.process_time()
            records = prover.feed(data)
            used += time.process_time() - started
            done.update(record["status"] for record in records if record["kind"] == "done")
        last = segments[-1][0]
    proof = prover.end()
    if not proof.whole or proof.open or proof.lost:
        raise SystemExit(f"void: {proof.summary()} {' '.join(proof.findings)}")
    return Proven(done, used / proof.records * 1e6)


@contextlib.contextmanager
def standing(python: str) -> Iterator[FrontDoor]:
    """Build and start everything in a temporary directory; end and remove it afterwards.

    What runs on hosts runs on the program ``python``, which needs aiohttp; the runtime does on this one.
    """
    with tempfile.TemporaryDirectory(prefix="gw-") as place, contextlib.ExitStack() as stack:
        base = Path(place)
        key = make_key(base)
        shutil.copytree(ROLE / "files/gatekeeper", base / "lib/gatekeeper")
        (base / "run/chat-1").mkdir(parents=True)

        runtime_sockets = {
            "unix": stack.enter_context(listening(base / "run/chat-1/http.sock")),
            "tcp": stack.enter_context(on_loopback()),
        }
        runtime = stack.enter_context(running(runtime_sockets, sys.executable, "-I", str(STUB)))
        writer = stack.enter_context(writing(base, python))

        gate_sockets = {
            "airlock-gatekeeper.socket": stack.enter_context(listening(base / "gate.sock")),
            "airlock-metrics.socket": stack.enter_context(listening(base / "metrics.sock")),
        }
        command = [python, "-I", str(base / "lib/gatekeeper")]
        command += [f"--config={base / 'config'}", f"--releases={base / 'releases'}"]
        command += [f"--audit={base / 'writer.sock'}", f"--runtimes={base / 'run'}"]
        command += [f"--peer={pwd.getpwuid(os.getuid()).pw_name}"]
        gatekeeper = stack.enter_context(running(gate_sockets, *command))

        edge_socket = stack.enter_context(on_loopback())
        edge = stack.enter_context(proxying(edge_socket, edge_config(base)))
        yield FrontDoor(
            base,
            key,
            runtime_port=runtime_sockets["tcp"].getsockname()[1],
            edge_port=edge_socket.getsockname()[1],
            runtime=runtime.pid,
            gatekeeper=gatekeeper.pid,
            edge=edge.pid,
            writer=writer.pid,
        )
