# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils.releases import Flags, LaunchConfig

LAUNCHER = "roles/runtime/files/llama_server.py"
Load = Callable[[str], ModuleType]
Run = Callable[..., Any]


class Backend:
    """The binding, as far as the launcher knows it."""

    llama_pooling_type = SimpleNamespace(LLAMA_POOLING_TYPE_MEAN="mean")

    @staticmethod
    def CommonParams() -> Any:
        threads = {"n_threads": -1}
        return SimpleNamespace(
            model=SimpleNamespace(path=""),
            cpuparams=SimpleNamespace(**threads),
            cpuparams_batch=SimpleNamespace(**threads),
        )


def config(**flags: Any) -> LaunchConfig:
    return LaunchConfig(
        "chat-1a2b3c4d", "chat", "llama_cpp", "/opt/r", "/run/m", "/run/s.sock", Flags(**flags)
    )


def test_everything_that_leaks_or_opens_is_off(load: Load) -> None:
    params = load(LAUNCHER).parameters(Backend, config())
    off = [
        "cache_prompt",
        "cache_idle_slots",
        "ui",
        "endpoint_slots",
        "endpoint_metrics",
        "endpoint_props",
        "cors_credentials",
    ]
    assert [name for name in off if getattr(params, name) is not False] == []
    assert (params.cache_ram_mib, params.offline, params.cors_origins) == (0, True, "")
    assert params.hostnames == ["/run/s.sock"]
    assert params.model_alias == {"chat"}
    assert params.cpuparams.n_threads == -1
    assert not hasattr(params, "embedding")


def test_flags_reach_the_server(load: Load) -> None:
    flags = config(mode="embedding", context=512, parallel=3, threads=2)
    params = load(LAUNCHER).parameters(Backend, flags)
    assert (params.n_ctx, params.n_parallel) == (1536, 3)
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2
    assert (params.embedding, params.pooling_type) == (True, "mean")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_is_asked_for_on_the_socket(
    load: Load, tmp_path: Path, status: int, healthy: bool
) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    path = str(tmp_path / "http.sock")
    with socketserver.UnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert load(LAUNCHER).is_healthy(path) is healthy
        thread.join()


def test_a_release_that_is_not_there_is_refused_in_one_line(run: Run) -> None:
    done = run(LAUNCHER, "no-such-release")
    assert done.returncode == 1
    assert done.stderr == (
        "release no-such-release: it cannot serve: [Errno 2] No such file or directory: "
        "'/etc/airlock/releases/no-such-release.json'.\n"
    )
    assert run(LAUNCHER).stderr == "usage: llama_server.py RELEASE\n"
