# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit trail as gatekeeper and writer make it together, and what happens when one of them dies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import audit_key, audit_segments
from ansible_collections.homelab.airlock.plugins.module_utils.audit_proof import Proof, Prover

from .conftest import (
    FIRST_KEY,
    SCREENING,
    House,
    Runtime,
    UnixConnection,
    begin_stream,
    eventually,
    reply,
    reply_raw,
    send_chunk,
)
from .test_gatekeeper import EVENT, LAST, code


def prove(house: House) -> Proof:
    """Prove the trail as the controller does."""
    prover = Prover(FIRST_KEY)
    segments, complete = audit_segments.read_after(str(house.trail), 0, 10**9)
    assert complete
    for _first, data in segments:
        prover.feed(data)
    descriptor = os.open(house.key_file, os.O_RDONLY)
    held = audit_key.load(descriptor)
    os.close(descriptor)
    return prover.end(held.seq)


def kinds(house: House) -> list[str]:
    return [record["kind"] for record in house.records()]


def test_the_controller_can_prove_what_the_writer_wrote(house: House) -> None:
    house.chat()
    house.ask()
    proof = prove(house)
    assert proof.findings == []
    assert kinds(house) == ["started", "done", "open", "done", "done"]
    assert proof.open == {}
    assert proof.last == 5


def test_a_request_is_on_record_before_the_runtime_sees_it(house: House) -> None:
    seen: list[dict[str, Any]] = []

    def behave(handler: BaseHTTPRequestHandler) -> None:
        seen.append(house.records()[-1])
        reply(handler, {})

    house.runtime.behave = behave
    house.chat()
    [opened] = seen
    assert (opened["kind"], opened["key"], opened["release"]) == ("open", "alice", "chat-1")
    assert (opened["client"], opened["prompt_bytes"] > 0) == ("10.1.2.3", True)
    assert "status" not in opened


def test_the_record_names_the_model_and_its_digest(house: House) -> None:
    file = {"path": "m.gguf", "size": 7, "sha256": "a" * 64, "source": "a file"}
    manifest = {"version": 1, "name": "small", "revision": "1", "licence": "MIT", "files": [file]}
    (house.base / "releases/chat-1.manifest.json").write_text(json.dumps(manifest))
    house.chat()
    assert house.entries()[-1]["model"] == "small"
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    assert house.entries()[-1]["model_sha256"] == hashlib.sha256(canonical).hexdigest()


def test_the_record_says_what_the_model_was_sent(house: House) -> None:
    scope = replace(house.record.scope, guardrail="Be kind.")
    house.place_keys(replace(house.record, scope=scope))
    house.chat()
    [body] = house.runtime.bodies
    assert b"Be kind." in body
    opened, done = house.records()[-2:]
    assert opened["sent_sha256"] == done["sent_sha256"] == hashlib.sha256(body).hexdigest()
    assert done["sent_sha256"] != done["prompt_sha256"]


def test_of_what_is_sent_on_as_it_came_there_is_one_digest(house: House) -> None:
    runtime = Runtime(house.base / "run/embed-1/http.sock")
    body = b'{"model":"embed","input":"PROMPT"}'
    assert house.ask("POST", "/v1/embeddings", body, key=house.key)[0] == 200
    runtime.close()
    assert runtime.bodies == [body]
    done = house.entries()[-1]
    assert done["sent_sha256"] == done["prompt_sha256"] == hashlib.sha256(body).hexdigest()


def test_what_no_runtime_gets_was_not_sent(house: House) -> None:
    house.chat(model="none")
    assert house.entries()[-1]["prompt_sha256"] and house.entries()[-1]["sent_sha256"] is None


def test_the_record_names_the_tables_in_force(cold_house: House) -> None:
    table = json.loads((cold_house.config / "screens/output.json").read_text())
    cold_house.place("screens/output.json", {**table, "version": 7})
    cold_house.start()
    cold_house.chat()
    cold_house.ask()
    assert [entry["tables"] for entry in cold_house.entries()] == [
        "input 1, weights 1, output 7",
        None,
    ]


def ask_and_go_on(house: House) -> UnixConnection:
    """Send a question and do not wait for its answer."""
    connection = house.connect()
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "PROMPT"}]})
    headers = {"Content-Type": "application/json", "x-api-key": house.key}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection


CERTIFICATE = {"X-Airlock-Cert": "ab" * 32, "X-Airlock-Cert-Name": "alice-phone"}


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere"])
def test_the_record_names_the_certificate_of_whoever_asked(house: House, path: str) -> None:
    for key in (house.key, house.expired, None):
        house.ask(path=path, key=key, headers=CERTIFICATE)
        entry = house.entries()[-1]
        assert (entry["certificate"], entry["certificate_name"]) == ("ab" * 32, "alice-phone")
    house.ask(path=path, key=house.key)
    assert house.entries()[-1]["certificate"] is house.entries()[-1]["certificate_name"] is None


def raw(house: House, data: bytes) -> bytes:
    """Send ``data`` as it stands; return all that comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(house.socket))
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\x01\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"SECRET" * 9000 + b"\r\n\r\n",
    ],
    ids=["control character", "no HTTP", "larger than the edge lets through"],
)
def test_what_is_no_request_is_on_record_and_told_to_nobody(house: House, head: bytes) -> None:
    answer = raw(house, head)
    status, _crlf, rest = answer.partition(b"\r\n")
    assert status.endswith(b" 400 Bad Request")
    assert b'"code": "bad_request"' in rest
    assert b"Server: airlock" in rest
    assert eventually(lambda: bool(house.entries()))
    [entry] = house.entries()
    assert (entry["status"], entry["reason"]) == (400, "bad_request")
    assert f"X-Request-Id: {entry['id']}".encode() in rest
    assert 'airlock_refusals_total{reason="bad_request"} 1' in scrape(house)[2]
    said = house.stop()
    assert b"SECRET" not in answer
    assert "SECRET" not in said
    assert "Traceback" not in said


def test_what_the_edge_lets_through_is_read_here_too(house: House) -> None:
    long = "x" * 15_000
    assert code(house.ask(path=f"/{long}")) == (404, "unknown_route")
    assert code(house.ask(key=long)) == (401, "unknown_key")
    assert house.ask(headers={"X-Long": long}, key=house.key)[0] == 200
    assert [entry["status"] for entry in house.entries()] == [404, 401, 200]


def test_counts_that_no_model_has_counted_leave_a_record(house: House) -> None:
    large = "9" * 4300
    for usage in (
        '{"input_tokens": %s, "cache_read_input_tokens": %s, "output_tokens": %s}',
        '{"prompt_tokens": %s, "completion_tokens": %s, "total_tokens": %s}',
    ):
        data = b'{"object": "answer", "usage": %s}' % (usage % (large, large, large)).encode()
        house.runtime.behave = lambda handler, data=data: reply_raw(handler, data, 200)
        house.chat()
        entry = house.entries()[-1]
        assert (entry["forwarded"], entry["prompt_tokens"], entry["completion_tokens"]) == (
            True,
            None,
            None,
        )
    assert len(house.entries()) == 2
    assert prove(house).open == {}


# -- who dies ----------------------------------------------------------------------------------


def test_a_gatekeeper_that_is_killed_leaves_an_open_request(house: House) -> None:
    house.runtime.behave = lambda _handler: time.sleep(3)
    connection = ask_and_go_on(house)
    assert eventually(lambda: bool(house.runtime.requests))
    assert house.process is not None
    house.process.kill()
    assert eventually(lambda: kinds(house)[-1] == "lost")
    opened, lost = house.records()[-2:]
    assert (opened["kind"], opened["id"]) == ("open", lost["id"])
    proof = prove(house)
    assert (proof.findings, proof.lost) == ([], 1)
    connection.close()


def test_without_a_writer_nothing_is_served_or_forwarded(house: House) -> None:
    house.stop_writer()
    house.close_writer()
    for _again in range(2):
        assert code(house.chat()) == (503, "not_audited")
        assert code(house.ask("GET", "/health")) == (503, "not_audited")
    assert house.runtime.requests == []
    house.open_writer()
    house.start_writer()
    assert house.chat()[0] == 200
    [missed] = [record for record in house.records() if record["kind"] == "missed"]
    assert missed["requests"] == 4
    assert prove(house).findings == []


def test_a_writer_that_hangs_lets_nothing_through(house: House) -> None:
    assert house.writer is not None
    house.writer.send_signal(signal.SIGSTOP)
    assert code(house.chat()) == (503, "not_audited")
    assert house.runtime.requests == []
    house.writer.send_signal(signal.SIGCONT)
    assert house.chat()[0] == 200
    assert prove(house).findings == []


def test_a_stream_does_not_end_before_it_is_on_record(house: House) -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        send_chunk(handler, EVENT)
        assert house.writer is not None
        house.writer.send_signal(signal.SIGSTOP)
        send_chunk(handler, LAST)
        send_chunk(handler, b"")

    house.runtime.behave = behave
    response = house.stream()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    assert house.writer is not None
    house.writer.send_signal(signal.SIGCONT)
    house.ask()
    done = [record for record in house.records() if record["kind"] == "done"]
    assert len({record["id"] for record in done}) >= 3, "what was owed is written first"
    assert prove(house).open == {}


def test_a_writer_that_is_killed_goes_on_where_it_was(house: House) -> None:
    house.chat()
    house.stop_writer(signal.SIGKILL)
    house.start_writer()
    assert house.chat()[0] == 200
    started = [record for record in house.records() if record["kind"] == "started"]
    assert [(record["torn"], record["missing"]) for record in started] == [(0, 0), (0, 0)]
    assert "stopped" not in kinds(house)
    assert prove(house).findings == []


def test_a_torn_end_is_cut_off_and_said(house: House) -> None:
    house.chat()
    house.stop_writer(signal.SIGKILL)
    with house.audit.open("ab") as handle:
        handle.write(house.audit.read_bytes().splitlines()[-1][:50] + b"\0" * 30)
    house.start_writer()
    assert house.chat()[0] == 200
    assert [r["torn"] for r in house.records() if r["kind"] == "started"] == [0, 80]
    assert prove(house).findings == []


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_trail_that_was_cut_off_stays_cut_off(house: House, left: int) -> None:
    house.chat()
    house.stop_writer()
    lines = house.audit.read_bytes().splitlines(keepends=True)
    house.audit.write_bytes(b"".join(lines[:left]))
    house.start_writer()
    assert house.chat()[0] == 200
    started = [record for record in house.records() if record["kind"] == "started"][-1]
    assert started["missing"] == len(lines) - left
    assert "records before" in house.stop_writer()
    assert prove(house).findings


def test_a_segment_that_is_taken_away_is_missed(house: House) -> None:
    house.chat()
    house.audit.unlink()
    assert eventually(house.audit.exists)
    house.chat()
    assert "it was taken away" in house.stop_writer()
    assert any("no record says" in finding for finding in prove(house).findings)


def test_keys_of_written_records_are_forgotten(house: House) -> None:
    house.chat()
    house.stop_writer()
    descriptor = os.open(house.key_file, os.O_RDONLY)
    held = audit_key.load(descriptor)
    os.close(descriptor)
    assert held.seq == house.records()[-1]["seq"] + 1
    assert FIRST_KEY not in house.key_file.read_bytes()


# -- what is owed ------------------------------------------------------------------------------


class Writer:
    """Stands for the way to the writer: answers when it is told to."""

    open, policy = True, b"d"

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self._answers: list[asyncio.Future[None]] = []

    def send(self, data: bytes) -> asyncio.Future[None]:
        size, _content = struct.unpack_from(">II", data)
        self.sent.append(json.loads(data[8 : 8 + size]))
        self._answers.append(asyncio.get_running_loop().create_future())
        return self._answers[-1]

    async def answer_until(self, task: asyncio.Future[None]) -> None:
        while not task.done():
            for answer in self._answers:
                if not answer.done():
                    answer.set_result(None)
            await asyncio.sleep(0)
        task.result()

    def done(self) -> list[str]:
        return [record["id"] for record in self.sent if record["kind"] == "done"]

    def missed(self) -> list[int]:
        return [record["requests"] for record in self.sent if record["kind"] == "missed"]


Owing = Callable[[], Coroutine[Any, Any, tuple[Any, Writer]]]


@pytest.fixture
def owing(gatekeeper: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Owing:
    """Return what makes a trail that owes as many records as it may, 3, to a writer that has come back."""
    audit, writer = gatekeeper("audit"), Writer()

    async def connected(_path: Path) -> Writer:
        return writer

    async def make() -> tuple[Any, Writer]:
        monkeypatch.setattr(audit, "_MAX_OWED", 3)
        trail = audit.Trail(Path("/nowhere"))
        for number in range(3):
            await trail.owe(audit.Entry(f"owed {number}", "GET"))
        monkeypatch.setattr(audit, "_connected", connected)
        return trail, writer

    return make


OWED = ["owed 0", "owed 1", "owed 2"]


def test_what_is_too_much_to_be_owed_is_missed(
    owing: Owing,
    gatekeeper: Callable[[str], ModuleType],
) -> None:
    async def run() -> None:
        trail, writer = await owing()
        for _again in range(2):
            await trail.owe(gatekeeper("audit").Entry("one more", "GET"))
        assert trail.owed == 3
        await writer.answer_until(asyncio.ensure_future(trail.ready()))
        assert (writer.done(), writer.missed()) == (OWED, [2])
        assert trail.up

    asyncio.run(run())


def test_what_is_owed_while_another_is_sent_takes_nobodys_place(
    owing: Owing,
    gatekeeper: Callable[[str], ModuleType],
) -> None:
    async def run() -> None:
        trail, writer = await owing()
        ready = asyncio.ensure_future(trail.ready())
        while not writer.sent:
            await asyncio.sleep(0)
        gone = asyncio.ensure_future(trail.finish(gatekeeper("audit").Entry("gone", "GET")))
        await asyncio.sleep(0)
        gone.cancel()
        await writer.answer_until(ready)
        assert [name for name in writer.done() if name != "gone"] == OWED
        assert writer.missed() == [1]

    asyncio.run(run())


def test_what_is_missed_while_that_is_being_said_is_said_next(
    owing: Owing,
) -> None:
    async def run() -> None:
        trail, writer = await owing()
        await writer.answer_until(asyncio.ensure_future(trail.ready()))
        trail.miss()
        ready = asyncio.ensure_future(trail.ready())
        while not writer.missed():
            await asyncio.sleep(0)
        trail.miss()
        trail.miss()
        await writer.answer_until(ready)
        await writer.answer_until(asyncio.ensure_future(trail.ready()))
        assert writer.missed() == [1, 2]

    asyncio.run(run())


# -- what does not fit -------------------------------------------------------------------------


def test_a_line_that_fits_only_in_part_leaves_nothing(cold_house: House) -> None:
    cold_house.start_writer(file_limit=2048)
    cold_house.start()
    served = 0
    while cold_house.ask("GET", "/health")[0] == 200:
        served += 1
    assert 0 < served < 10
    assert code(cold_house.chat()) == (503, "not_audited")
    assert cold_house.runtime.requests == []
    assert cold_house.audit.read_bytes().endswith(b"}\n")
    assert prove(cold_house).findings == []


@pytest.fixture
def small_disk(cold_house: House) -> Iterator[House]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(cold_house.trail)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("it takes the right to mount")
    yield cold_house
    subprocess.run(["umount", "--lazy", str(cold_house.trail)], check=True)


def test_a_full_disk_stops_the_house_and_room_starts_it_again(small_disk: House) -> None:
    small_disk.start()
    assert small_disk.chat()[0] == 200
    filler = small_disk.trail / "filler"
    filler.write_bytes(b"x" * 240 * 1024)
    time.sleep(0.3)  # how often the room is looked at
    for _again in range(2):
        assert code(small_disk.chat()) == (503, "not_audited")
    assert len(small_disk.runtime.requests) == 1
    filler.unlink()
    assert small_disk.chat()[0] == 200
    assert "missed" in kinds(small_disk)
    assert prove(small_disk).findings == []
    assert "the disk is full" in small_disk.stop_writer()


def test_segments_are_closed_by_size_and_expire_by_age(cold_house: House) -> None:
    cold_house.start_writer("--segment-bytes=2000")
    cold_house.start()
    while len(list(cold_house.trail.glob("audit-*.jsonl"))) < 3:
        assert cold_house.chat()[0] == 200
    assert prove(cold_house).findings == []
    oldest, following, *_younger = sorted(cold_house.trail.glob("audit-*.jsonl"))
    long_ago = time.time() - 91 * 86_400
    os.utime(oldest, (long_ago, long_ago))
    cold_house.stop_writer()
    cold_house.start_writer()
    assert cold_house.chat()[0] == 200
    assert oldest.exists(), "what follows it is young: nobody could tell this from a deletion"
    os.utime(following, (long_ago, long_ago))
    cold_house.stop_writer()
    cold_house.start_writer()
    assert eventually(lambda: "expired" in kinds(cold_house))
    assert eventually(lambda: not oldest.exists())
    proof = prove(cold_house)
    assert proof.findings == []
    assert proof.first > 1


def test_segments_expire_by_size_as_soon_as_there_are_more(cold_house: House) -> None:
    cold_house.start_writer("--segment-bytes=2000", "--keep-bytes=6000")
    cold_house.start()

    def is_full() -> bool:
        assert cold_house.chat()[0] == 200
        return "expired" in kinds(cold_house)

    assert eventually(is_full, 30), "an hour is too late in a flood"
    cold_house.stop_writer()
    proof = prove(cold_house)
    assert proof.findings == []
    assert proof.first > 1


def test_a_flood_without_keys_is_counted_line_by_line_or_in_sum(cold_house: House) -> None:
    cold_house.start_writer("--lines-per-client=3")
    cold_house.start()
    for _again in range(20):
        assert cold_house.ask()[0] == 401
    assert cold_house.ask(key=cold_house.key)[0] == 200
    cold_house.stop_writer()
    entries = cold_house.entries()
    assert [entry["status"] for entry in entries] == [401, 401, 401, 200]
    [counted] = [record for record in cold_house.records() if record["kind"] == "counted"]
    assert (counted["client"], counted["requests"]) == ("10.1.2.3", {"401 no_key": 17})


def test_an_expired_key_fills_the_disk_as_little_as_none(cold_house: House) -> None:
    cold_house.policy = "full"
    cold_house.start_writer("--lines-per-client=3")
    cold_house.start()
    for _again in range(20):
        assert cold_house.chat(key=cold_house.expired)[0] == 401
    for _again in range(5):
        assert cold_house.chat()[0] == 200
        assert code(cold_house.chat(model="none")) == (404, "model_not_found")
    cold_house.stop_writer()
    ends = [(entry["key"], entry["reason"]) for entry in cold_house.entries()]
    assert ends.count(("carol", "expired_key")) == 3
    assert ends.count(("alice", "model_not_found")) == 3
    assert ends.count(("alice", "ok")) == 5, "what a runtime saw has a line"
    counted = {r["key"]: r["requests"] for r in cold_house.records() if r["kind"] == "counted"}
    assert counted == {"carol": {"401 expired_key": 17}, "alice": {"404 model_not_found": 2}}
    [file] = cold_house.content.iterdir()
    assert len(file.read_text().splitlines()) == 5, "of what was refused no text is kept"


# -- who may write -----------------------------------------------------------------------------


def test_only_the_gatekeepers_user_may_send_records(cold_house: House) -> None:
    cold_house.start_writer("--peer=nobody")
    cold_house.start()
    assert code(cold_house.chat()) == (503, "not_audited")
    assert f"refused a connection of user {os.getuid()}" in cold_house.stop_writer()


def frame(record: Any, content: bytes = b"") -> bytes:
    data = record if isinstance(record, bytes) else json.dumps(record).encode()
    return struct.pack(">II", len(data), len(content)) + data + content


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">II", 2**31, 0),
        frame(b"{"),
        frame([]),
        frame({"kind": "started", "id": "x"}),
        frame({"kind": "done"}),
        frame({"kind": "done", "id": "x", "ms": 0.5}),
        frame(b'{"kind":"done","id":"x","id":"y"}'),
        frame(b"[" * 2000),
        frame({"kind": "done", "id": "x"}, b"{"),
        frame({"kind": "done", "id": "x"}, b'{"id":"y"}'),
    ],
)
def test_what_is_no_frame_ends_the_connection_and_nothing_else(house: House, sent: bytes) -> None:
    before = house.records()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(house.base / "writer.sock"))
        assert connection.recv(1) == b"d"
        connection.sendall(sent)
        assert connection.recv(1) == b""
    assert house.records() == before
    assert house.chat()[0] == 200


def test_who_hangs_up_at_once_is_nobodys_concern(house: House) -> None:
    for _again in range(100):  # fewer than may wait, so that a writer that is gone hangs nobody
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(house.base / "writer.sock"))
    assert house.chat()[0] == 200
    assert kinds(house).count("started") == 1
    assert house.writer is not None
    assert house.writer.poll() is None


@pytest.mark.parametrize("own", ["seq", "time", "prev", "mac"])
def test_a_taken_gatekeeper_cannot_choose_what_the_writer_fills_in(house: House, own: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(house.base / "writer.sock"))
        connection.sendall(frame({"kind": "done", "id": "x", own: "1"}))
        assert connection.recv(2) in (b"d-", b"d")
    assert prove(house).findings == []
    assert "x" not in {record.get("id") for record in house.records()}


# -- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["digest", "redacted", "full"])
def test_texts_lie_apart_and_as_the_policy_says(cold_house: House, policy: str) -> None:
    cold_house.policy = policy
    cold_house.start()
    secret = f"sk-{'1234567890abcdefghij'}"
    message = {"role": "assistant", "content": f"to anna@example.org, {secret}"}
    cold_house.runtime.behave = lambda handler: reply(handler, {"choices": [{"message": message}]})
    cold_house.chat(messages=[{"role": "user", "content": f"PROMPT {secret}"}])
    files: list[Path] = list(cold_house.content.iterdir())
    assert secret not in cold_house.audit.read_text()
    if policy == "digest":
        assert files == []
        return
    [file] = files
    assert file.stat().st_mode & 0o777 == 0o600
    kept = json.loads(file.read_text())
    entry = cold_house.entries()[-1]
    assert kept["id"] == entry["id"]
    assert "PROMPT" in str(kept["prompt"])
    if policy == "redacted":
        assert secret not in file.read_text()
        assert "anna@example.org" not in file.read_text()
        assert kept["response"] == ["to [masked: email], [masked: model-provider-key]"]
    else:
        assert hashlib.sha256(kept["prompt"].encode()).hexdigest() == entry["prompt_sha256"]
        assert hashlib.sha256(kept["response"].encode()).hexdigest() == entry["response_sha256"]
    file.unlink()
    assert prove(cold_house).findings == [], "the trail does not need the texts"


SECRETS = ("anna@example.org", "ghp_" + "a1B2c3D4e5" * 4, "AKIA" + "IOSFODNN7EXAMPLE")


@pytest.mark.parametrize("size", [1, 3, 7])
def test_what_comes_in_pieces_is_redacted(cold_house: House, size: int) -> None:
    cold_house.policy = "redacted"
    cold_house.place("screening.json", {**SCREENING, "filter": "off"})
    cold_house.start()
    said = "ask\n" + "\n".join(SECRETS) + "\nor 4111 1111 1111 1111."

    def behave(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler)
        for start in range(0, len(said), size):
            choice = {"index": 0, "delta": {"content": said[start : start + size]}}
            event = {"object": "chat.completion.chunk", "choices": [choice]}
            send_chunk(handler, b"data: " + json.dumps(event).encode() + b"\n\n")
        send_chunk(handler, LAST)
        send_chunk(handler, b"")

    cold_house.runtime.behave = behave
    escaped = SECRETS[0].replace("a", "\\u0061").replace("@", "\\u0040")
    calls = json.dumps(json.dumps({"to": SECRETS[1]}).replace("ghp", "\\u0067hp"))
    body = (
        '{"model": "chat", "stream": true, "messages": [{"role": "user", "content": '
        f'"PROMPT {escaped}:\\n{SECRETS[1]}\\n{SECRETS[2]}"}}, {{"role": "assistant", "tool_calls": [{{'
        f'"id": "x", "type": "function", "function": {{"name": "f", "arguments": {calls}}}}}]}}]}}'
    )
    connection = cold_house.connect()
    headers = {"Content-Type": "application/json", "x-api-key": cold_house.key}
    connection.request("POST", "/v1/chat/completions", body, headers)
    with connection.getresponse() as response:
        assert response.status == 200
        response.read()
    [file] = cold_house.content.iterdir()
    kept = json.loads(file.read_text())
    assert kept["response"] == [
        "ask\n[masked: email]\n[masked: github-token]\n[masked: aws-access-key]\nor [masked: payment-card]."
    ]
    asked, called = kept["prompt"]["messages"]
    assert (
        asked["content"]
        == "PROMPT [masked: email]:\n[masked: github-token]\n[masked: aws-access-key]"
    )
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {
        "to": "[masked: github-token]"
    }
    assert cold_house.entries()[-1]["reason"] == "ok"


@pytest.mark.parametrize(
    "text", ["[" * 900 + "]" * 900, "{", '{"a": 1, "a": 2}', "[" * 60 + "]" * 60, "[1e999]"]
)
def test_whatever_a_text_looks_like_its_request_is_on_record(cold_house: House, text: str) -> None:
    cold_house.policy = "redacted"
    cold_house.start()
    message = {"role": "assistant", "content": text}
    cold_house.runtime.behave = lambda handler: reply(handler, {"choices": [{"message": message}]})
    assert cold_house.chat(messages=[{"role": "user", "content": text}])[0] == 200
    assert cold_house.entries()[-1]["reason"] == "ok"
    [file] = cold_house.content.iterdir()
    assert json.loads(file.read_text())["id"] == cold_house.entries()[-1]["id"]


@pytest.mark.parametrize("card", ["4111111111111111", "4111111111111111.0", "4111111111111111"[:9]])
def test_numbers_are_redacted_like_texts(cold_house: House, card: str) -> None:
    cold_house.policy = "redacted"
    cold_house.start()
    cold_house.chat(messages=[{"role": "user", "content": f'{{"number": {card}, "share": 1.5}}'}])
    [file] = cold_house.content.iterdir()
    kept = file.read_text()
    assert (card in kept) == (len(card) < 16)
    assert "1.5" in kept


# -- metrics -----------------------------------------------------------------------------------


def scrape(house: House, path: str = "/metrics") -> tuple[int, str, str]:
    with contextlib.closing(UnixConnection(house.base / "metrics.sock")) as connection:
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status, response.headers["Content-Type"], response.read().decode()


def test_metrics_count_and_name_nothing_of_a_client(house: House) -> None:
    house.runtime.behave = lambda handler: reply(
        handler, {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    )
    house.chat()
    house.chat(model="a-name-that-a-client-made-up")
    house.ask("GET", "/another-name-that-a-client-made-up", key=house.key)
    status, kind, text = scrape(house)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = text.splitlines()
    asked = 'route="/v1/chat/completions",service="chat",status="200"'
    assert f"airlock_requests_total{{{asked}}} 1" in lines
    assert 'airlock_refusals_total{reason="model_not_found"} 1' in lines
    assert 'airlock_refusals_total{reason="unknown_route"} 1' in lines
    assert 'airlock_tokens_total{service="chat",kind="prompt"} 5' in lines
    assert 'airlock_request_seconds_bucket{service="chat",le="+Inf"} 1' in lines
    assert "airlock_audit_up 1" in lines
    for private in ("made-up", "alice", "10.1.2.3", house.key[10:]):
        assert private not in text
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split("{")[0].split()[0] for line in lines if line[0] != "#"} <= {
        f"{name}{suffix}" for name in names for suffix in ("", "_bucket", "_sum", "_count")
    }


def test_metrics_say_that_nothing_can_be_recorded_and_answer_nothing_else(house: House) -> None:
    house.stop_writer()
    house.close_writer()
    house.ask()
    assert "airlock_audit_up 0" in scrape(house)[2].splitlines()
    assert "airlock_audit_refused_total 1" in scrape(house)[2].splitlines()
    assert scrape(house, "/v1/models")[0] == 404
