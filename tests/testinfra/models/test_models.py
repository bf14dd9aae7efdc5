# SPDX-License-Identifier: GPL-3.0-or-later
"""Models on real hosts: of several files, looked at again for nothing, and refused while the running ones go on.

`embed` answers from a GGUF in parts, `tiny-in-shards` is held ready (molecule/default/models.yml).
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from ...corpus import hub, other_cases
from ..conftest import Play

STORE = "/var/lib/airlock/store"
PARTS, SHARDS = "smollm2-in-parts", "tiny-in-shards"
# Says the name of every file in the store that somebody reads from, system-wide (inotify(7), IN_ACCESS).
WATCH = f"""
import ctypes, os, struct
libc = ctypes.CDLL(None)
queue = libc.inotify_init1(0)
assert libc.inotify_add_watch(queue, b"{STORE}", 1) > 0
print("watching", flush=True)
while True:
    events = os.read(queue, 65536)
    while events:
        length = struct.unpack_from("iIII", events)[3]
        if length:  # else somebody listed the directory
            print(events[16:16 + length].rstrip(bytes(1)).decode(), flush=True)
        events = events[16 + length:]
"""
FORGET = """
import os, sys
for path in sys.argv[1:]:
    os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
"""
# Says how many pages of some files are in memory (mincore(2)); a private mapping reads none of them.
RESIDENT = """
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
found = 0
for path in sys.argv[1:]:
    file = open(path, "rb")
    with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as area:
        pages = (ctypes.c_ubyte * -(-len(area) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(area)
        assert libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(area)), pages) == 0
        found += sum(page & 1 for page in pages)
        del start
print(found)
"""


def stored(host: Host, model: str) -> dict[str, str]:
    """Return where the store keeps the files of a model, by their names."""
    manifest = json.loads(host.file(f"/var/lib/airlock/manifests/{model}.json").content_string)
    return {file["path"]: f"{STORE}/sha256-{file['sha256']}" for file in manifest["files"]}


def resident(host: Host, paths: list[str]) -> int:
    """Return how many pages of the files are in memory."""
    return int(host.check_output(f"python3 -c %s {' '.join(paths)}", RESIDENT))


@contextmanager
def watched(host: Host) -> Iterator[Callable[[], list[str]]]:
    """Give what returns the files of the store that were read from until then."""
    log = "/run/lab-watch"

    def lines() -> list[str]:
        return host.file(log).content_string.splitlines()

    host.check_output("rm -f %s", log)
    host.check_output(
        "systemd-run --unit=lab-watch --property=StandardOutput=file:%s python3 -c %s", log, WATCH
    )
    try:
        wait_for(lambda: host.file(log).exists and lines()[:1] == ["watching"])
        yield lambda: lines()[1:]
    finally:
        host.check_output("systemctl stop lab-watch && rm %s", log)


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def running(host: Host) -> tuple[list[str], str]:
    """Return the processes of the releases, and everything in the store."""
    shown = host.check_output("systemctl show --property=MainPID --value 'airlock-runtime@*'")
    return sorted(shown.split()), host.check_output("ls -lA --time-style=full-iso %s", STORE)


def unchanged(done: subprocess.CompletedProcess[str]) -> bool:
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    return recap.count("changed=") == recap.count("changed=0") > 0


def test_a_model_in_parts_is_admitted_seen_and_mapped_as_a_whole(
    inference: Host, releases: dict[str, str]
) -> None:
    release = releases["embed"]
    ticket = json.loads(inference.file(f"/run/airlock/gate/{release}.json").content_string)
    parts = [path for name, path in stored(inference, PARTS).items() if name.endswith(".gguf")]
    inodes = [int(inference.check_output("stat --format=%%i %s", path)) for path in parts]
    assert [file["ino"] for file in ticket["files"].values()] == inodes
    assert [file["mapped"] for file in ticket["files"].values()] == [0, 1, 1]
    unit = f"airlock-runtime@{release}.service"
    pid = inference.check_output("systemctl show --property=MainPID --value %s", unit)
    view = inference.check_output("nsenter --mount --target=%s ls /run/airlock/model", pid)
    assert view.split() == list(ticket["files"])
    maps = inference.check_output("cat /proc/%s/maps", pid)
    assert all(f"/run/airlock/model/{name}" in maps for name in view.split()[1:])


def test_a_model_of_another_format_is_held_and_proven(inference: Host) -> None:
    files = stored(inference, SHARDS)
    assert sum(name.endswith(".safetensors") for name in files) == 2
    for path in files.values():
        digest = inference.check_output("sha256sum %s", path).split()[0]
        assert path == f"{STORE}/sha256-{digest}"
        assert inference.file(path).mode == 0o444


def test_a_second_run_changes_nothing_and_reads_no_byte_of_a_model(
    inference: Host, play: Play
) -> None:
    shards = list(stored(inference, SHARDS).values())
    inference.check_output(f"python3 -c %s {' '.join(shards)}", FORGET)
    assert resident(inference, shards) == 0
    before = running(inference)
    with watched(inference) as read_from:
        done = play("site", {})
        assert done.returncode == 0, done.stdout
        assert unchanged(done), done.stdout
        assert read_from() == []
        assert resident(inference, shards) == 0
        # The same two witnesses do see somebody who reads.
        inference.check_output("head --bytes=1 %s", shards[-1])
        wait_for(lambda: read_from() == [Path(shards[-1]).name])
        assert resident(inference, shards) > 0
    assert running(inference) == before


@pytest.fixture
def house(inference: Host) -> Iterator[None]:
    """See that the running models and the store are untouched afterwards."""
    before = running(inference)
    yield
    assert running(inference) == before


def assert_refused(done: subprocess.CompletedProcess[str], *sentences: str) -> None:
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert [sentence for sentence in sentences if sentence not in said] == []
    assert unchanged(done), done.stdout


def entry(path: str, size: int, source: dict[str, Any], sha256: str) -> dict[str, Any]:
    file = {"path": path, "size": size, "sha256": sha256, "source": source}
    return {"revision": "1", "licence": "MIT", "files": [file]}


def held(intent: dict[str, Any], bad: dict[str, Any]) -> dict[str, Any]:
    """Return variables that hold one more model ready."""
    return {
        "airlock_models": {**intent["airlock_models"], "bad": bad},
        "model_store_keep": [SHARDS, "bad"],
    }


def test_a_malformed_catalog_and_an_expired_waiver_are_refused(
    house: None, play: Play, site: Path, intent: dict[str, Any]
) -> None:
    wanted = site / "models.yml"
    before = wanted.read_text()
    models = yaml.safe_load(before)
    models[SHARDS]["waivers"] = [{"of": "licence", "reason": "a test", "until": "2026-01-31"}]
    malformed = entry("../model.gguf", 5, {"type": "file", "path": "/x"}, "0" * 64)
    wanted.write_text(yaml.safe_dump(models))
    try:
        done = play("site", held(intent, malformed))
    finally:
        wanted.write_text(before)
    assert_refused(
        done,
        "airlock_models.bad.files[0].path: the path does not fit",
        f"models.yml: {SHARDS}",
        "the waiver of the licence expired",
    )


def test_an_edited_lock_of_models_and_one_that_llama_cpp_cannot_load_are_refused(
    house: None, play: Play, site: Path, intent: dict[str, Any]
) -> None:
    lock = site / "models.lock.json"
    before = lock.read_bytes()
    edited = json.loads(before)
    file = edited["models"][SHARDS]["files"][-1]
    lock.write_bytes(before.replace(file["sha256"].encode(), b"0" * 64))
    other = entry("model.safetensors", 5, {"type": "file", "path": "/x"}, "0" * 64)
    services = intent["airlock_services"]
    services = {**services, "chat": {**services["chat"], "model": "bad"}}
    try:
        done = play("site", held(intent, other) | {"airlock_services": services})
    finally:
        lock.write_bytes(before)
    assert_refused(
        done,
        "models.lock.json is not what was signed",
        "airlock_services.chat: llama.cpp cannot load the model bad: expected GGUF",
    )


@pytest.mark.parametrize(
    ("data", "less", "sentence"),
    [
        (hub.TINY, 1, "larger than the catalog says"),
        (other_cases.pickles()[0].data, 0, "the content is not what the name says"),
    ],
    ids=["wrong size", "unknown format"],
)
def test_a_file_that_is_not_what_was_approved_is_refused(
    house: None,
    play: Play,
    intent: dict[str, Any],
    tmp_path: Path,
    data: bytes,
    less: int,
    sentence: str,
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    source = {"type": "file", "path": str(path)}
    bad = entry(path.name, len(data) - less, source, hub.sha256(data))
    assert_refused(play("site", held(intent, bad), "--tags=model_store"), sentence)


def test_a_download_that_is_cut_off_is_refused(
    house: None,
    play: Play,
    intent: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.lay_out(tmp_path)
    (tmp_path / "faults.json").write_text('{"/tiny.gguf": {"cut": 100}}')
    server, address = hub.serve(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    source = {"type": "https", "url": f"{address}/tiny.gguf", "sha256": hub.sha256(hub.TINY)}
    bad = entry("model.gguf", len(hub.TINY), source, hub.sha256(hub.TINY))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = play("site", held(intent, bad), "--tags=model_store")
        server.shutdown()
    assert_refused(done, "ended early")


@pytest.fixture
def full(inference: Host) -> Iterator[None]:
    """Let the store be on a disk without room; what runs keeps what it has."""
    inference.check_output("mount -t tmpfs -o size=64k,mode=755 full %s", STORE)
    yield
    left = inference.check_output("ls -A %s", STORE)
    inference.check_output("umount %s", STORE)
    assert left == ""


def test_a_full_disk_is_refused_before_anything_is_sent(
    house: None, full: None, play: Play
) -> None:
    assert_refused(play("site", {}, "--tags=model_store"), "the disk is too full", "make room")
