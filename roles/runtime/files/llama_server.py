# SPDX-License-Identifier: GPL-3.0-or-later
"""Launcher of the backend llama_cpp: serves one model on one Unix socket, with everything else off.

Takes the name of the release. Exit status: 0 when it was told to stop, 1 when it cannot serve, said
in one sentence on standard error.
"""

from __future__ import annotations

import http.client
import importlib
import os
import signal
import socket
import sys
from types import ModuleType
from typing import Any

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock.errors import AirlockError
from airlock.files import read_limited
from airlock.releases import LaunchConfig
from airlock.releases_program import notify, refuse

_CONFIG_LIMIT = 1024 * 1024
_HEALTH_SECONDS = 30


def parameters(backend: ModuleType, config: LaunchConfig) -> Any:
    """Return the parameters of llama.cpp's server for ``config``."""
    flags = config.flags
    params = backend.CommonParams()
    params.model.path = config.model
    params.model_alias = {config.service}
    params.hostnames = [config.socket]
    params.n_ctx = flags.context * flags.parallel
    params.n_parallel = flags.parallel
    if flags.threads:
        params.cpuparams.n_threads = flags.threads
        params.cpuparams_batch.n_threads = flags.threads
    if flags.mode == "embedding":
        params.embedding = True
        params.pooling_type = backend.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # A cache that callers share tells one what another asked.
    params.cache_ram_mib = 0
    params.cache_prompt = False
    params.cache_idle_slots = False
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = False
    params.endpoint_props = False
    params.cors_origins = ""
    params.cors_methods = ""
    params.cors_headers = ""
    params.cors_credentials = False
    return params


def is_healthy(path: str) -> bool:
    """Ask the server on the Unix socket ``path`` for its health. Raises OSError."""
    connection = http.client.HTTPConnection("localhost", timeout=_HEALTH_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(_HEALTH_SECONDS)
    connection.sock.connect(path)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()


def serve(release: str) -> Any:
    """Serve ``release`` until told to stop, and return the server. Raises AirlockError and OSError."""
    where = f"/etc/airlock/releases/{release}.json"
    config = LaunchConfig.parse(read_limited(where, _CONFIG_LIMIT), where)
    # Before any thread exists, so that every thread inherits it and only sigwait sees the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.path.insert(0, config.runtime)
    try:
        backend = importlib.import_module("xllamacpp")
    except ImportError as exc:
        raise AirlockError.refuse(
            f"the runtime cannot be loaded ({exc})",
            where=config.runtime,
            fix="run the playbook 'site'",
        ) from exc
    try:
        server = backend.Server(parameters(backend, config))
    except RuntimeError as exc:
        raise AirlockError.refuse(
            f"llama.cpp cannot load the model of release {release} ({exc})",
            where=config.model,
            fix=f"the lines above this one in 'journalctl -u airlock-runtime@{release}' say why",
        ) from exc
    if not is_healthy(config.socket):
        raise AirlockError.refuse("the server does not report health", where=config.socket)
    notify(f"READY=1\nSTATUS=Serving {config.service} on {server.listening_address}")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    notify("STOPPING=1")
    return server


def main() -> int:
    """Serve the release that the command line names and return the exit status."""
    if len(sys.argv) != 2:
        return refuse("usage: llama_server.py RELEASE")
    try:
        server = serve(sys.argv[1])
    except AirlockError as exc:
        return refuse(str(exc))
    except OSError as exc:
        return refuse(f"release {sys.argv[1]}: it cannot serve: {exc}.")
    # Its destructor would wait for answers that are still being generated. Who stops a release drains it first.
    os._exit(0 if server else 1)


if __name__ == "__main__":
    sys.exit(main())
