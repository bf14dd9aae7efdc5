# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import windows_host
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.windows import Destination
from ansible_collections.homelab.airlock.plugins.module_utils.windows_host import Host

HOSTS = "127.0.0.1 localhost\n"
WANTED = [
    Destination("a.example.org", "198.18.0.1", 80),
    Destination("a.example.org", "fd00::1", 80),
    Destination("198.18.0.9", "198.18.0.9", 443),
]


class Kernel:
    """Enough of nft and systemd-run: sets by name, counters, and the commands that were run."""

    def __init__(self, *, windows: bool = True, broken: str = "", tcp: str | int = "tcp"):
        self.sets: dict[str, list[str]] = {"window4": [], "window6": []} if windows else {}
        self.bytes = 100
        self.broken = broken
        self.tcp = tcp
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        text = " ".join(command)
        if self.broken and self.broken in text:
            return 1, "it is broken"
        if "list set" in text:
            name = command[-1]
            if name not in self.sets:
                return 1, "No such file or directory"
            elements = [
                {"elem": {"val": {"concat": [address, self.tcp, int(port)]}}}
                for address, _tcp, port in (entry.split(" . ") for entry in self.sets[name])
            ]
            return 0, json.dumps({"nftables": [{"set": {"name": name, "elem": elements}}]})
        if "list counters" in text:
            counters = [
                {"counter": {"name": n, "packets": 1, "bytes": self.bytes}}
                for n in ("window_in", "window_out")
            ]
            return 0, json.dumps({"nftables": counters})
        if "flush set" in text:
            self.sets[command[-1]] = []
        for name, elements in re.findall(r"add element inet airlock (\w+) \{ ([^}]*) \}", text):
            self.sets[name] += [entry.split(" timeout ")[0] for entry in elements.split(", ")]
        return 0, ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text(HOSTS)
    return tmp_path


def hosts(root: Path) -> str:
    return (root / "etc/hosts").read_text()


def test_it_opens_for_its_time_and_closes_without_a_trace(root: Path) -> None:
    kernel = Kernel()
    host = Host(kernel, str(root))
    host.open(WANTED, 30, "why", now=1000)
    assert host.elements() == [
        "198.18.0.1 . tcp . 80",
        "198.18.0.9 . tcp . 443",
        "fd00::1 . tcp . 80",
    ]
    assert all(
        "timeout 1800s" in " ".join(c) for c in kernel.commands if "add element" in " ".join(c)
    )
    assert any(c[0] == "systemd-run" and "--on-active=1800" in c for c in kernel.commands)
    assert "198.18.0.1 a.example.org\nfd00::1 a.example.org\n" in hosts(root)
    assert "198.18.0.9" not in hosts(root)
    kernel.bytes = 350
    assert host.close(now=1100)
    assert (host.elements(), host.pinned(), hosts(root)) == ([], False, HOSTS)
    window = host.window()
    assert window is not None
    assert (window["ended"], window["closed"], window["bytes_in"]) == ("closed", 1100, 250)
    assert not host.close(now=1200)
    host.forget()
    assert host.window() is None


def test_the_timer_of_the_host_leaves_word_of_the_deadline(root: Path) -> None:
    kernel = Kernel()
    host = Host(kernel, str(root))
    host.open(WANTED, 30, "why", now=1000)
    kernel.sets = {"window4": [], "window6": []}  # the kernel was first
    assert host.close(now=2800)
    window = host.window()
    assert window is not None
    assert window["ended"] == "deadline"
    assert hosts(root) == HOSTS


def test_names_that_a_power_cut_left_are_removed(root: Path) -> None:
    Host(Kernel(), str(root)).open(WANTED, 30, "why", now=1000)
    os.unlink(root / "run/airlock/window.json")
    assert Host(Kernel(), str(root)).close(now=9999)
    assert hosts(root) == HOSTS


@pytest.mark.parametrize("broken", ["systemd-run", "add element"])
def test_what_fails_on_the_way_leaves_nothing_open(root: Path, broken: str) -> None:
    host = Host(Kernel(broken=broken), str(root))
    with pytest.raises(AirlockError, match="it is broken"):
        host.open(WANTED, 30, "why", now=1000)
    assert (host.elements(), host.window(), hosts(root)) == ([], None, HOSTS)


def test_without_rules_nothing_opens_and_nothing_is_touched(root: Path) -> None:
    kernel = Kernel(windows=False)
    host = Host(kernel, str(root))
    with pytest.raises(AirlockError, match="the loaded rules know no windows"):
        host.open(WANTED, 30, "why", now=1000)
    assert hosts(root) == HOSTS
    assert not [command for command in kernel.commands if command[0] != "nft"]
    assert not host.close(now=1000)


@pytest.mark.parametrize("tcp", ["tcp", 6])  # nft 1.1 and nft 1.0
def test_only_the_very_same_window_is_the_same(root: Path, tcp: str | int) -> None:
    kernel = Kernel(tcp=tcp)
    host = Host(kernel, str(root))
    assert not host.matches(WANTED, 30, "why")
    host.open(WANTED, 30, "why", now=1000)
    assert host.matches(WANTED, 30, "why")
    assert not host.matches(WANTED, 31, "why")
    assert not host.matches(WANTED, 30, "why not")
    assert not host.matches(WANTED[:1], 30, "why")
    kernel.sets["window6"] = []
    assert not host.matches(WANTED, 30, "why")


def test_a_hosts_file_that_is_a_mount_is_written_in_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    host = Host(Kernel(), str(root))
    monkeypatch.setattr(host, "_keep", lambda _window: None)
    monkeypatch.setattr(windows_host, "write_atomic", busy)
    host.open(WANTED, 30, "why", now=1000)
    assert host.pinned()
    host.close(now=1000)
    assert hosts(root) == HOSTS


def test_lines_of_others_stay_as_they_are(root: Path) -> None:
    mine = "10.0.0.1 mine\xe9".encode("latin-1")
    (root / "etc/hosts").write_bytes(HOSTS.encode() + mine)
    host = Host(Kernel(), str(root))
    host.open(WANTED, 30, "why", now=1000)
    host.close(now=1000)
    assert (root / "etc/hosts").read_bytes() == HOSTS.encode() + mine + b"\n"
