# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes against real sockets on loopback; what needs rights and namespaces is tried on lab hosts."""

from __future__ import annotations

import os
import pwd
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import probes_run
from ansible_collections.homelab.airlock.plugins.module_utils.probes import Outcome, Probe

ME = pwd.getpwuid(os.geteuid()).pw_name


def nothing(_command: list[str]) -> tuple[int, str]:
    return 0, "MainPID=0\nActiveState=inactive\n"


def tried(kind: str, timeout: float = 2.0, **fields: Any) -> Outcome:
    probe = Probe(id="x", kind=kind, expect="reached", **fields)
    return probes_run.run_all([probe], timeout, nothing)[0]


@pytest.fixture
def answering() -> Iterator[int]:
    """A UDP port that answers: echoes, and turns a question of DNS into an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            data, peer = server.recvfrom(2048)
            server.sendto(data[:2] + b"\x81\x83" + data[4:], peer)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=5)


@pytest.fixture
def silent() -> Iterator[int]:
    """A UDP port that is open and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["udp", "dns"])
def test_a_datagram_that_is_answered_was_reached(kind: str, answering: int) -> None:
    assert tried(kind, address="127.0.0.1", port=answering).outcome == "reached"


@pytest.mark.parametrize("kind", ["udp", "dns"])
def test_silence_is_a_timeout(kind: str, silent: int) -> None:
    outcome = tried(kind, timeout=0.2, address="127.0.0.1", port=silent)
    assert (outcome.outcome, outcome.errno) == ("timeout", None)
    assert outcome.ms >= 200


def test_a_connection_is_reached_and_a_closed_port_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reached = tried("tcp", address="127.0.0.1", port=port)
    assert (reached.outcome, reached.source) == ("reached", "127.0.0.1")
    refused = tried("tcp", address="127.0.0.1", port=port)
    assert (refused.outcome, refused.errno) == ("refused", "ECONNREFUSED")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_unix_sockets_of_every_type_are_reached(kind: int, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(path)
        if kind != socket.SOCK_DGRAM:
            server.listen()
        assert tried("unix", path=path).outcome == "reached"
    assert tried("unix", path=path).errno == "ECONNREFUSED"
    assert tried("unix", path=path + "x").errno == "ENOENT"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_listener_says_who_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def come() -> None:
        for _attempt in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return

    thread = threading.Thread(target=come)
    thread.start()
    listened = tried("listen", timeout=8.0, address="127.0.0.1", port=port)
    thread.join()
    assert (listened.outcome, listened.detail) == ("reached", "by 127.0.0.1")
    assert tried("listen", timeout=0.1, address="127.0.0.1", port=port).outcome == "timeout"


def test_many_probes_run_in_parallel_and_keep_their_order(silent: int) -> None:
    count = probes_run.PARALLEL + 4
    asked = [
        Probe(id=str(n), kind="udp", expect="refused", address="127.0.0.1", port=silent)
        if n % 2
        else Probe(id=str(n), kind="unix", expect="refused", path="/nonexistent")
        for n in range(count)
    ]
    begin = time.monotonic()
    outcomes = probes_run.run_all(asked, 0.5, nothing)
    assert time.monotonic() - begin < 5
    assert [outcome.outcome for outcome in outcomes] == ["refused", "timeout"] * (count // 2)


def test_a_probe_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_run, "attempt", lambda _probe, _timeout: time.sleep(60))
    monkeypatch.setattr(probes_run, "_GRACE", 0.2)
    begin = time.monotonic()
    outcome = tried("interfaces", timeout=0.1)
    assert time.monotonic() - begin < 5
    assert outcome.outcome == "error"
    assert "ended" in outcome.detail


def test_a_probe_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_probe: Probe, _timeout: float) -> Outcome:
        raise ZeroDivisionError("x" * 5000)

    monkeypatch.setattr(probes_run, "attempt", broken)
    outcome = tried("interfaces")
    assert outcome.outcome == "error"
    assert outcome.detail.startswith("ZeroDivisionError: x")


def test_what_cannot_be_tried_says_why() -> None:
    assert tried("interfaces", unit="a.service").detail == (
        "the unit a.service has no process to look from (it is inactive)"
    )
    assert tried("interfaces", user="nobody-of-that-name").detail == (
        "there is no user nobody-of-that-name on this host"
    )


def test_a_probe_may_be_the_user_that_we_are() -> None:
    assert tried("unix", user=ME, path="/nonexistent").errno == "ENOENT"


def test_the_right_to_write_is_tried_without_writing(tmp_path: Path) -> None:
    existing = tmp_path / "a"
    existing.write_text("as it was")
    assert tried("write", path=str(existing)).outcome == "reached"
    assert tried("write", path=str(tmp_path)).outcome == "reached"
    assert existing.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [existing]
    assert tried("write", path=str(tmp_path / "missing")).errno == "ENOENT"
