# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    canonical,
    state_files,
    state_host,
    state_ruleset,
)
from ansible_collections.homelab.airlock.plugins.module_utils.files import sha256_bytes

UNIT_FILES = """ssh.service enabled enabled
cron.service disabled enabled
getty@.service enabled enabled
airlock-edge.socket enabled enabled
airlock-edge.service static -
airlock-probe.service transient -
"""
UNITS = """Id=airlock-edge.service
UnitFileState=static
ActiveState=inactive
TriggeredBy=airlock-edge.socket

Id=airlock-edge.socket
UnitFileState=enabled
ActiveState=active

Id=ssh.service
UnitFileState=enabled
ActiveState=active
Type=notify
"""


def table(packets: int = 0, handle: int = 1, port: int = 22) -> dict[str, Any]:
    return {
        "nftables": [
            {"metainfo": {"version": "1.1.3"}},
            {"table": {"family": "inet", "name": "airlock", "handle": handle}},
            {
                "set": {
                    "name": "window",
                    "flags": ["timeout"],
                    "handle": handle,
                    "elem": [{"elem": {"val": 443, "timeout": 60, "expires": packets}}],
                }
            },
            {"set": {"name": "admin", "flags": ["interval"], "elem": ["10.0.0.0/8"]}},
            {
                "rule": {
                    "handle": handle,
                    "expr": [
                        {"match": {"right": port}},
                        {"counter": {"packets": packets, "bytes": packets}},
                    ],
                }
            },
        ]
    }


def run(command: list[str]) -> tuple[int, str]:
    if command[:2] == ["systemctl", "list-unit-files"]:
        return 0, UNIT_FILES
    if command[:2] == ["systemctl", "show"]:
        assert "getty@.service" not in command, "a template cannot be shown"
        return 0, UNITS
    if command[-1] == "tables":
        names = [("inet", "airlock"), ("ip", "docker")]
        return 0, json.dumps({"nftables": [{"table": {"family": f, "name": n}} for f, n in names]})
    if command[0] == "nft":
        return 0, json.dumps(table())
    raise AssertionError(command)


def write(root: Path, path: str, text: str = "", mode: int = 0o644) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "/etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
    write(
        tmp_path,
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:104:104::/:/bin/false\n",
    )
    write(tmp_path, "/etc/group", "root:x:0:\nmessagebus:x:104:\nsudo:x:27:root,op\n")
    write(tmp_path, "/etc/shadow", "root:!:1:::::\nmessagebus:$y$x:1:::::\n", 0o640)
    write(tmp_path, "/etc/hosts", "127.0.0.1 localhost\n")
    write(tmp_path, "/etc/machine-id", "secret\n")
    write(tmp_path, "/usr/bin/ls", "elf")
    write(tmp_path, "/usr/local/bin/tool", "tool")
    write(tmp_path, "/var/lib/dpkg/info/coreutils.list", "/.\n/bin\n/bin/ls\n/usr\n/usr/bin\n")
    (tmp_path / "bin").symlink_to("usr/bin")
    write(
        tmp_path,
        "/var/lib/dpkg/status",
        "Package: coreutils\nStatus: install ok installed\nArchitecture: amd64\nVersion: 9.7\n"
        "Description: x\n Version: 1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n"
        "Package: nvidia\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 550\n",
    )
    write(tmp_path, "/var/lib/airlock/store/sha256-abc", "model")
    write(tmp_path, "/proc/sys/net/ipv4/ip_forward", "0\n")
    return tmp_path


def look(root: Path, **more: Any) -> dict[str, Any]:
    return state_host.observe(run, root=str(root), **more)


def test_the_whole_observation_is_canonical_and_stable(root: Path) -> None:
    assert canonical.dumps(look(root)) == canonical.dumps(look(root))


def test_areas(root: Path) -> None:
    state = look(root)["state"]
    assert state["platform"] == {
        "distribution": "debian",
        "release": "13",
        "arch": os.uname().machine,
    }
    assert state["packages"] == {
        "coreutils": {"version": "9.7", "arch": "amd64", "hold": False, "brought": None},
        "nvidia": {"version": "550", "arch": "amd64", "hold": True, "brought": None},
    }
    assert state["models"] == {"sha256-abc": {"size": 5}}
    assert state["sysctl"] == {"net.ipv4.ip_forward": "0"}
    assert state["ruleset"]["others"] == ["ip docker"]
    assert state["groups"]["sudo"] == {"gid": "27", "members": ["op", "root"]}
    assert state["users"]["root"]["password"] == "locked"  # noqa: S105
    assert state["users"]["messagebus"] == {
        "uid": "system",
        "group": "messagebus",
        "home": "/",
        "shell": "/bin/false",
        "password": "set",
    }


def test_units(root: Path) -> None:
    assert look(root)["state"]["units"] == {
        "airlock-edge.service": {"enabled": "static", "running": None},
        "airlock-edge.socket": {"enabled": "enabled", "running": True},
        "getty@.service": {"enabled": "enabled", "running": None},
        "ssh.service": {"enabled": "enabled", "running": True},
    }


def test_what_the_collection_brought_is_named(root: Path) -> None:
    record = {
        "gateway": {
            "packages": {"coreutils": {}},
            "users": {"messagebus": {}},
            "units": {"x@1.service": {}},
        }
    }
    write(root, "/var/lib/airlock/owned.json", json.dumps({"version": 1, "roles": record}))
    state = look(root)["state"]
    assert state["packages"]["coreutils"]["brought"] == "gateway"
    assert state["users"]["messagebus"]["uid"] == "104"


def test_a_ruleset_is_the_same_whatever_passed_through_it() -> None:
    def normal(value: dict[str, Any]) -> Any:
        return state_ruleset.normalise_ruleset(value["nftables"])

    assert normal(table()) == normal(table(packets=9, handle=7))
    assert normal(table()) != normal(table(port=23))
    assert "10.0.0.0/8" in json.dumps(normal(table()))


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/evil.conf", 0o644),
        ("/etc/secret", 0o600),
        ("/usr/bin/evil", 0o755),
        ("/opt/evil", 0o644),
    ],
)
def test_a_file_added_by_hand_shows(root: Path, path: str, mode: int) -> None:
    (root / "opt").mkdir()
    before = look(root)["state"]["files"]
    write(root, path, "x", mode)
    after = look(root)["state"]["files"]
    assert set(after) - set(before) == {path}


def test_a_foreign_directory_is_one_entry(root: Path) -> None:
    write(root, "/opt/conda/bin/python", "x")
    files = look(root)["state"]["files"]
    assert files["/opt/conda"]["type"] == "directory"
    assert "/opt/conda/bin/python" not in files


def test_content_counts_unless_others_may_not_read_it(root: Path) -> None:
    write(root, "/etc/locked/inner", "x")
    (root / "etc/locked").chmod(0o750)
    write(root, "/etc/sudoers.d/op", "op ALL", 0o440)
    files = look(root)["state"]["files"]
    assert files["/etc/hosts"]["sha256"] == sha256_bytes(b"127.0.0.1 localhost\n")
    assert files["/etc/shadow"]["sha256"] is None
    assert files["/etc/locked/inner"]["sha256"] is None, "its directory cannot be searched"
    assert files["/etc/sudoers.d/op"]["sha256"] == sha256_bytes(b"op ALL")
    assert files["/etc/passwd"]["sha256"] is None, "the accounts are compared instead"


def test_packaged_and_volatile_files_are_left_out(root: Path) -> None:
    write(root, "/etc/noise", "x")
    files = look(root, exclude={"/etc/noise": "written every minute"})["state"]["files"]
    assert "/usr/bin/ls" not in files
    assert "/usr/local/bin/tool" in files
    assert "/etc/machine-id" not in files
    assert "/etc/noise" not in files


def test_what_is_left_out_is_said(root: Path) -> None:
    not_covered = look(root, exclude={"/etc/noise": "written every minute"})["coverage"][
        "not_covered"
    ]
    assert not_covered["/etc/noise"] == "written every minute"
    assert set(state_files.VOLATILE) <= set(not_covered)


def test_links_strange_names_and_large_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "MAX_HASHED", 1000)
    (root / "etc/link").symlink_to("/dev/null")
    write(root, "/etc/large", "x" * 1001)
    write(root, "/opt/airlock/runtimes/demo/large.so", "x" * 1001)
    Path(os.fsdecode(os.fsencode(root) + b"/etc/\xff\nname")).write_text("x")
    os.mkfifo(root / "etc/pipe")
    files = look(root)["state"]["files"]
    assert files["/etc/link"]["target"] == "/dev/null"
    assert files["/etc/large"]["size"] == 1001
    assert "sha256" not in files["/etc/large"]
    assert len(files["/opt/airlock/runtimes/demo/large.so"]["sha256"]) == 64
    assert "/etc/\\xff\nname" in files
    assert files["/etc/pipe"]["type"] == "other"
