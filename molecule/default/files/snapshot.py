# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what a host is, one fact per line: files, accounts, units, packages, tables of the packet filter, listeners.

It knows nothing of the product. Left out are places that change by themselves or record that something was done:
logs, caches, the package manager's own books, the folders of Ansible itself, and backups of the account files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator

LEFT_OUT = {
    "/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp",  # noqa: S108
    "/var/backups", "/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/lib/ucf",
    "/etc/ld.so.cache", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-",
    "/etc/subuid-", "/etc/subgid-",
}  # fmt: skip
LEFT_BY_ANSIBLE = {".ansible", ".ansible_async"}
UNITS = "service,socket,timer"


def files() -> Iterator[str]:
    for folder, names, entries in os.walk("/"):
        names[:] = [name for name in names if counts(os.path.join(folder, name))]
        for path in (os.path.join(folder, name) for name in names + entries):
            if counts(path):
                yield f"file {path} {describe(path)}"


def counts(path: str) -> bool:
    return path not in LEFT_OUT and os.path.basename(path) not in LEFT_BY_ANSIBLE


def describe(path: str) -> str:
    info = os.lstat(path)
    words = [stat.filemode(info.st_mode), str(info.st_uid), str(info.st_gid)]
    if stat.S_ISLNK(info.st_mode):
        words.append(os.readlink(path))
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            words.append(hashlib.sha256(file.read()).hexdigest())
    return " ".join(words)


def lines(kind: str, *command: str) -> Iterator[str]:
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        if line.strip():
            yield f"{kind} {' '.join(line.split())}"


def facts() -> Iterator[str]:
    yield from files()
    yield from lines("user", "getent", "passwd")
    yield from lines("group", "getent", "group")
    yield from lines("package", "dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\n")
    yield from lines("held", "apt-mark", "showhold")
    yield from lines("unit", "systemctl", "list-unit-files", "--no-legend", "--no-pager")
    yield from lines(
        "active", "systemctl", "list-units", "--plain", "--no-legend", f"--type={UNITS}"
    )
    yield from lines("table", "nft", "list", "tables")
    yield from lines("listener", "ss", "--listening", "--numeric", "--no-header", "--tcp", "--udp")


if __name__ == "__main__":
    print("\n".join(sorted(set(facts()))))
