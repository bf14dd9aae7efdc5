# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes against real sockets on loopback; what needs rights and namespaces is tried on lab hosts."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import probes_run, probes_sockets
from ansible_collections.homelab.airlock.plugins.module_utils.probes import Outcome, Probe

ME = pwd.getpwuid(os.geteuid()).pw_name


def nothing(_command: list[str]) -> tuple[int, str]:
    return 0, "MainPID=0\nActiveState=inactive\n"


def tried(kind: str, timeout: float = 2.0, **fields: Any) -> Outcome:
    probe = Probe(id="x", kind=kind, expect="reached", **fields)
    return probes_run.run_all([probe], timeout, nothing)[0]


@contextlib.contextmanager
def answering(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A UDP port that answers with what ``answer`` makes of a datagram, and not when it makes None of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := server.recvfrom(4096))[0] != b"end":
                message, peer = received
                reply = answer(message)
                if reply is not None:
                    server.sendto(reply, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", ("127.0.0.1", port))
            thread.join(timeout=5)


def echo(message: bytes) -> bytes:
    return message


def name_server(code: int, records: int) -> Callable[[bytes], bytes]:
    """Turn a question of DNS into an answer with this response code and number of records (RFC 1035, 4.1.1)."""
    return lambda question: (
        question[:2] + struct.pack("!HHH", 0x8180 | code, 1, records) + question[8:]
    )


def for_a_while(times: int) -> Callable[[bytes], bytes | None]:
    left = iter(range(times))
    return lambda message: message if next(left, None) is not None else None


@pytest.fixture
def silent() -> Iterator[int]:
    """A UDP port that is open and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@FORKS
def test_a_datagram_that_is_answered_was_reached() -> None:
    with answering(echo) as port:
        assert tried("udp", address="127.0.0.1", port=port, size=3000).outcome == "reached"
    with answering(name_server(3, 0)) as port:
        assert tried("dns", address="127.0.0.1", port=port).outcome == "reached"


@FORKS
def test_a_resolver_was_reached_but_the_name_server_behind_it_only_with_an_address() -> None:
    with answering(name_server(0, 1)) as port:
        assert tried("resolve", address="127.0.0.1", port=port).outcome == "reached"
    for code, records in ((2, 0), (0, 0), (3, 1)):
        with answering(name_server(code, records)) as port:
            outcome = tried("resolve", address="127.0.0.1", port=port)
        assert (outcome.outcome, outcome.detail) == (
            "refused",
            f"no address, response code {code}",
        )


@FORKS
def test_a_flow_is_held_as_long_as_answers_come() -> None:
    with answering(echo) as port:
        held = tried("udp_held", timeout=1.0, address="127.0.0.1", port=port)
    assert held.outcome == "reached"
    assert held.ms >= 700
    with answering(for_a_while(2)) as port:
        ended = tried("udp_held", timeout=2.5, address="127.0.0.1", port=port)
    assert ended.outcome == "timeout"
    assert ended.detail.startswith("2 answers, then none for 2 s")


@FORKS
def test_a_connection_that_was_never_open_says_nothing() -> None:
    with answering(for_a_while(0)) as port:
        never = tried("udp_held", timeout=0.5, address="127.0.0.1", port=port)
    assert (never.outcome, never.detail) == ("error", "it was never open: timed out")
    assert tried("tcp_held", address="127.0.0.1", port=port).outcome == "error"


def test_a_peer_that_hangs_up_ends_the_flow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _peer = server.accept()
            connection.sendall(connection.recv(4096))
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        outcome = tried("tcp_held", address="127.0.0.1", port=server.getsockname()[1])
        thread.join(timeout=5)
    assert (outcome.outcome, outcome.detail) == ("refused", "the peer closed it")


@FORKS
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make packets by hand")
def test_a_header_made_by_hand_is_answered() -> None:
    with answering(echo) as port:
        assert tried("raw", address="127.0.0.1", port=port, size=900).outcome == "reached"
    assert tried("raw", address="127.0.0.1", port=port).errno == "ECONNREFUSED"


@FORKS
def test_a_probe_comes_from_the_port_it_wants() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        wanted = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert tried("tcp", address="127.0.0.1", port=port, source_port=wanted).outcome == "reached"
        connection, peer = server.accept()
        connection.close()
    assert peer[1] == wanted


def test_a_link_local_address_is_on_an_interface() -> None:
    probe = Probe(id="x", kind="tcp", expect="reached", address="fe80::9", port=7, interface="lo")
    assert probes_sockets.destination(probe) == ("fe80::9", 7, 0, socket.if_nametoindex("lo"))
    assert tried("tcp", address="fe80::9", port=7, interface="no-such-link").outcome == "untried"


def test_an_own_port_that_is_taken_says_nothing_of_the_destination() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, own = server.getsockname()[1], taken.getsockname()[1]
        outcome = tried("tcp", address="127.0.0.1", port=port, source_port=own)
    assert (outcome.outcome, outcome.errno) == ("untried", "EADDRINUSE")


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

    thread = threading.Thread(target=come, daemon=True)
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
        else Probe(id=str(n), kind="tcp", expect="refused", address="127.0.0.1", port=1)
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


@pytest.mark.parametrize(
    ("pids", "words"),
    [
        ({}, "there is no container web to look from (no engine runs it)"),
        ({"docker": 0}, "there is no container web to look from (no engine runs it)"),
        (
            {"docker": 1, "podman": 2},
            "there is no container web to look from (more than one engine runs it)",
        ),
    ],
)
def test_a_container_that_cannot_be_entered_says_why(pids: dict[str, int], words: str) -> None:
    assert inside("web", pids).detail == words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter namespaces")
def test_a_container_is_entered_by_its_first_process() -> None:
    engines = {"docker": os.getpid(), "podman": os.getpid()}  # podman may answer to both names
    assert inside("web", engines).outcome in ("reached", "refused")


def inside(container: str, pids: dict[str, int]) -> Outcome:
    """Look for interfaces inside a container that the engines in ``pids`` run."""

    def run(command: list[str]) -> tuple[int, str]:
        known = command[0] in pids and command[-1] == "web"
        return (0, f"{pids[command[0]]}\n") if known else (127, "")

    probe = Probe(id="x", kind="interfaces", expect="reached", container=container)
    return probes_run.run_all([probe], 2.0, run)[0]


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
