# SPDX-License-Identifier: GPL-3.0-or-later
"""What examples/ gives to users, before the real edge at the level high: with a client certificate and without."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is missing")

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/clients"


@pytest.fixture(scope="module")
def high(edge_at: Callable[..., Any]) -> Any:
    """An edge at the level high."""
    return edge_at(airlock_authentication="mtls", gateway_requests_per_client=10**6)


@pytest.mark.parametrize(
    "example",
    [["bash", "ask.sh", "Say hello."], [sys.executable, "openai_client.py"]],
    ids=["curl", "openai"],
)
@pytest.mark.parametrize("shown", [True, False], ids=["with a certificate", "without"])
def test_a_client_shows_its_certificate(
    high: Any, tmp_path: Path, example: list[str], *, shown: bool
) -> None:
    if "openai_client.py" in example:
        pytest.importorskip("openai")
    (tmp_path / "api.key").write_text("aik_ann_secret\n")
    alice = high.site / "secrets/clients/alice"
    certificate = {"AIRLOCK_CERT": f"{alice}.pem", "AIRLOCK_CERT_KEY": f"{alice}.key"}
    done = subprocess.run(
        example,
        cwd=EXAMPLES,
        env={
            **os.environ,
            "AIRLOCK_URL": f"https://127.0.0.1:{high.port}",
            "AIRLOCK_CA": str(high.site / "pki/ca.pem"),
            "AIRLOCK_KEY": str(tmp_path / "api.key"),
            **(certificate if shown else {}),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) == shown, done.stderr
    if shown and "ask.sh" in example:
        said = json.loads(done.stdout)
        assert said["path"] == "/v1/chat/completions"
        assert ["authorization", "Bearer aik_ann_secret"] in [
            [name.lower(), value] for name, value in said["headers"]
        ]


@contextmanager
def proxy(high: Any, folder: Path, name: str) -> Iterator[int]:
    """Run show-certificate.cfg before ``high``, which it expects to be called ``name``; give its port."""
    alice = high.site / "secrets/clients/alice"
    (folder / "client.pem").write_text(
        Path(f"{alice}.pem").read_text() + Path(f"{alice}.key").read_text()
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (EXAMPLES / "show-certificate.cfg").read_text()
    for said, here in (
        ("ai.home.arpa:8443", f"127.0.0.1:{high.port}"),
        ("ai.home.arpa", name),
        ("127.0.0.1:8444", f"127.0.0.1:{port}"),
        ("/etc/haproxy/airlock-ca.pem", str(high.site / "pki/ca.pem")),
        ("/etc/haproxy/airlock-client.pem", str(folder / "client.pem")),
    ):
        assert said in text
        text = text.replace(said, here)
    (folder / "haproxy.cfg").write_text(text)
    running = subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        yield port
    finally:
        running.terminate()
        running.wait(10)


def ask(port: int) -> tuple[int, bytes]:
    """Return status and body, as soon as somebody listens."""
    end = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/v1/models", headers={"Authorization": "Bearer aik_x"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
        finally:
            connection.close()


def test_a_program_that_cannot_show_one_has_a_proxy_do_so(high: Any, tmp_path: Path) -> None:
    with proxy(high, tmp_path, "ai.home.arpa") as port:
        status, body = ask(port)
    assert status == 200
    headers = {name.lower(): value for name, value in json.loads(body)["headers"]}
    assert headers["x-airlock-cert-name"] == "alice"
    assert headers["authorization"] == "Bearer aik_x"


def test_that_proxy_asks_nobody_of_another_name(high: Any, tmp_path: Path) -> None:
    with proxy(high, tmp_path, "stranger.home.arpa") as port:
        assert ask(port)[0] == 503
