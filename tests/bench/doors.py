# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured side by side: the runtime itself, our front door, and others before the same runtime."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from front_door import FrontDoor, on_loopback, proxying, rss_mib

Memory = dict[str, float]
PLAIN = "HAProxy, TLS alone"
_START_SECONDS = 180
_PLAIN = """
global
    maxconn 1024
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    tune.ssl.cachesize 0
defaults
    mode http
    timeout client 60s
    timeout connect 5s
    timeout server 60s
frontend plain
    bind fd@3 ssl crt {certificate} alpn http/1.1
    default_backend runtime
backend runtime
    server runtime unix@{runtime}
"""


@dataclass(frozen=True)
class Door:
    """Where to ask, with which key, and the processes (name to id) whose CPU and memory that costs."""

    name: str
    port: int
    key: str
    processes: dict[str, int] = field(default_factory=dict)
    tls: bool = True
    slack: int = 1  # seconds that the last answers may take

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def memory(self) -> Memory:
        """Return what each process has in memory, in MiB."""
        return {name: rss_mib(pid) for name, pid in self.processes.items()}


def direct(front: FrontDoor) -> Door:
    """Return the runtime's own port."""
    return Door("runtime, direct", front.runtime_port, front.key, tls=False)


def ours(front: FrontDoor) -> Door:
    """Return the edge, with everything behind it but the runtime."""
    processes = {"edge": front.edge, "gatekeeper": front.gatekeeper, "writer": front.writer}
    return Door("edge and gatekeeper", front.edge_port, front.key, processes)


@contextlib.contextmanager
def plain(front: FrontDoor) -> Iterator[Door]:
    """Run HAProxy with TLS and nothing else before the runtime: the least that an edge could cost."""
    config = front.base / "plain.cfg"
    config.write_text(_PLAIN.format(certificate=front.certificate, runtime=front.runtime_socket))
    with on_loopback() as listener, proxying(listener, config) as process:
        port = listener.getsockname()[1]
        yield Door(PLAIN, port, front.key, {"haproxy": process.pid})


@contextlib.contextmanager
def litellm(front: FrontDoor, program: Path) -> Iterator[Door]:
    """Run LiteLLM's proxy before the runtime's port: a master key, one worker, no database, no TLS, no network."""
    key = f"sk-{os.urandom(16).hex()}"
    runtime = {
        "model": "openai/chat",
        "api_base": f"http://127.0.0.1:{front.runtime_port}/v1",
        "api_key": "none",
    }
    config = front.base / "litellm.yaml"  # JSON is YAML, too
    config.write_text(
        json.dumps({"model_list": [{"model_name": "chat", "litellm_params": runtime}]})
    )
    with on_loopback() as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(front.base),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": key,
        "LITELLM_MODE": "PRODUCTION",
    }
    log = front.base / "litellm.log"
    command = [str(program.absolute()), f"--config={config}", "--host=127.0.0.1", f"--port={port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        _wait(port, process, log)
        yield Door("LiteLLM", port, key, {"litellm": process.pid}, tls=False, slack=3)
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return  # it listens when it has started
        time.sleep(1)
    raise SystemExit(f"void: LiteLLM did not start:\n{log.read_text()[-2000:]}")
