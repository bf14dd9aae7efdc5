# SPDX-License-Identifier: GPL-3.0-or-later
"""The real edge, HAProxy with the role's own configuration, in front of a house."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from .conftest import ROOT, House

PATIENCE = 10  # seconds for what has to come: a connection, and the first byte of an answer
SECONDS = 1  # that a client has for header and body; the role's default would make tests wait


def _bench() -> ModuleType:
    """Return what the benches have to start an edge."""
    path = ROOT / "tests/bench/front_door.py"
    spec = importlib.util.spec_from_file_location("front_door", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Edge:
    """Speaks to the edge of ``house`` in bytes."""

    def __init__(self, house: House, port: int, authority: Path):
        self.house = house
        self.url, self.authority = f"https://127.0.0.1:{port}", authority
        self._port = port
        self._context = ssl.create_default_context(cafile=str(authority))

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
        return self._context.wrap_socket(plain, server_hostname="127.0.0.1")

    def send(self, *parts: bytes, heard: Callable[[bytes], None] | None = None) -> bytes:
        """Send the parts in one connection; return all that comes back until it is closed.

        ``heard`` is told all that came so far, each time that more comes.
        """
        received = bytearray()
        with self.connect() as connection, contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
            while chunk := connection.recv(65536):
                received += chunk
                if heard is not None:
                    heard(bytes(received))
                else:  # a connection that is kept says nothing more
                    connection.settimeout(SECONDS + 0.5)
        return bytes(received)

    def request(
        self,
        target: str = "/v1/chat/completions",
        *,
        headers: str = "",
        body: bytes = b"",
        method: str = "",
        heard: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Send one request with the house's key, bytes as they stand; return what comes back."""
        method = method or ("POST" if body else "GET")
        head = f"{method} {target} HTTP/1.1\r\nHost: airlock\r\nConnection: close\r\n"
        if "authorization" not in headers.lower():
            head += f"Authorization: Bearer {self.house.key}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return self.send(f"{head}{headers}\r\n".encode("latin-1") + body, heard=heard)


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response in ``answer``."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


@contextlib.contextmanager
def running(house: House) -> Iterator[Edge]:
    """Run an edge in front of ``house``, whose gatekeeper runs already."""
    bench = _bench()
    (house.base / "gate.sock").symlink_to(house.socket)
    config = bench.edge_config(house.base)
    text = config.read_text()
    changed = re.sub(r"timeout http-request \d+s", f"timeout http-request {SECONDS}s", text)
    assert changed != text
    config.write_text(changed)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        bench.proxying(listener, config),
    ):
        yield Edge(house, listener.getsockname()[1], house.base / "edge/edge.pem")
