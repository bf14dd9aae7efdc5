# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files part of an observation: what lies on a host, who owns it and what it holds.

Three kinds of place are looked at: trees that are recorded file by file, the trees of the
distribution, where only what no package brought is recorded, and the places where keys and
jobs of people stand.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .files import sha256_file

RECORDED = (
    "/etc",
    "/usr/local",
    "/usr/lib/airlock",
    "/usr/lib/systemd/system",
    "/opt/airlock",
    "/var/lib/airlock/manifests",
    "/var/spool/cron",
    "/root/.ssh/authorized_keys*",
    "/home/*/.ssh/authorized_keys*",
)
"""Trees of which every entry is recorded (glob patterns)."""

PACKAGED = ("/usr", "/opt")
"""Trees of which only entries that no package brought are recorded."""

VOLATILE: Mapping[str, str] = {
    "/etc/.pwd.lock": "lock file",
    "/etc/.updated": "time stamp of systemd-update-done",
    "/etc/*-": "backup of an account file; the accounts are compared",
    "/etc/adjtime": "drift of the hardware clock",
    "/etc/apparmor.d/cache*": "cache",
    "/etc/blkid.tab": "cache",
    "/etc/cups/subscriptions.conf*": "state of the print server",
    "/etc/fake-hwclock.data": "time stamp",
    "/etc/hostname": "name of the machine",
    "/etc/iscsi/initiatorname.iscsi": "identity of the machine",
    "/etc/ld.so.cache": "cache",
    "/etc/lvm/archive*": "history of LVM",
    "/etc/lvm/backup*": "history of LVM",
    "/etc/machine-id": "identity of the machine",
    "/etc/mtab": "mirror of the kernel's mounts",
    "/etc/network/run*": "run-time state",
    "/etc/popularity-contest.conf": "random identity of the machine",
    "/etc/resolv.conf": "written by whichever program asked DHCP last",
    "/etc/ssh/ssh_host_*": "host keys: every installation has its own, and the controller pins them",
    "/etc/ssl/*ssl-cert-snakeoil*": "key pair made by a package at installation",
    "/usr/*/__pycache__": "byte code made from sources",
    "/usr/lib/*/gconv/gconv-modules.cache": "cache made by a package trigger",
    "/usr/lib/locale/locale-archive": "compiled locales",
    "/usr/lib/modules/*/modules.*": "index made by depmod",
    "/usr/lib/udev/hwdb.bin": "compiled hardware database",
    "/usr/share/*.cache": "cache made by a package trigger",
    "/usr/share/glib-2.0/schemas/gschemas.compiled": "made by a package trigger",
    "/usr/share/info/dir": "made by a package trigger",
    "/usr/share/mime/*": "made by a package trigger",
}
"""Paths that change on a healthy host or differ on every machine (pattern to reason); left out."""

CONTENT_FREE: Mapping[str, str] = {
    "/etc/airlock/edge/serves.sha256": "digest of the certificate, which every host has its own of",
    "/etc/airlock/pki/*": "keys and certificates: every host makes its own, and they are renewed",
    "/etc/crypttab": "names the disks of this machine",
    "/etc/fstab": "names the disks of this machine",
    "/etc/group": "the groups are compared instead",
    "/etc/passwd": "the accounts are compared instead",
    "/etc/subgid": "follows the order in which accounts were made",
    "/etc/subuid": "follows the order in which accounts were made",
}
"""Paths of which presence, mode and owner count, but not the content (pattern to reason)."""

HASHED_ALTHOUGH_PRIVATE = (
    "/etc/sudoers",
    "/etc/sudoers.d/*",
    "/home/*/.ssh/authorized_keys*",
    "/root/.ssh/authorized_keys*",
)
"""Who may get in is no secret and worth a digest, whatever the mode of the file."""

MAX_HASHED = 64 * 1024 * 1024
"""Bytes; of a larger file the size is recorded instead of a digest, unless it is one of ours."""

_OURS = ("/opt/airlock/", "/usr/lib/airlock/")
_PACKAGE_LISTS = "/var/lib/dpkg/info"
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


def collect(
    root: str, owners: Mapping[int, str], groups: Mapping[int, str], exclude: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return path to facts for every recorded entry below ``root`` ("/" on a real host).

    Facts: ``type`` (file, link, directory, other), ``mode`` (octal text), ``owner``,
    ``group``; of a link ``target``; of a file ``sha256`` (null when it is not compared or
    others may not read it) or, above MAX_HASHED in a place that is not ours, ``size`` in bytes. ``exclude`` holds more
    glob patterns to leave out. Raises OSError.
    """
    walker = _Walker(root, owners, groups, exclude)
    for pattern in RECORDED:
        for top in glob.glob(walker.real(pattern)):
            walker.record_tree(walker.shown(top))
    packaged = _packaged_paths(root)
    for top in PACKAGED:
        walker.record_unpackaged(top, packaged)
    return dict(sorted(walker.entries.items()))


class _Walker:
    def __init__(
        self,
        root: str,
        owners: Mapping[int, str],
        groups: Mapping[int, str],
        exclude: Iterable[str],
    ):
        self.root = root.rstrip("/")
        self.entries: dict[str, dict[str, Any]] = {}
        self._owners = owners
        self._groups = groups
        self._left_out = _matcher([*VOLATILE, *exclude])
        self._content_free = _matcher(CONTENT_FREE)
        self._hashed_anyway = _matcher(HASHED_ALTHOUGH_PRIVATE)
        self._recorded = _matcher(RECORDED)

    def real(self, path: str) -> str:
        return self.root + path

    def shown(self, real: str) -> str:
        return real[len(self.root) :]

    def record_tree(self, top: str) -> None:
        """Record ``top`` and everything below it; links are not followed."""
        pending = [(top, True)]
        while pending:
            path, readable = pending.pop()
            if self._left_out(path):
                continue
            facts = self._record(path, readable)
            if facts.get("type") == "directory":
                # Others can read what is inside only if they may search the directory.
                readable = readable and bool(int(facts["mode"], 8) & stat.S_IXOTH)
                pending += [(f"{path}/{name}", readable) for name in os.listdir(self.real(path))]

    def record_unpackaged(self, path: str, packaged: set[str]) -> None:
        """Record what no package brought below ``path``; a whole foreign tree is one entry."""
        if not Path(self.real(path)).is_dir():
            return
        with os.scandir(self.real(path)) as scan:
            entries = list(scan)
        for entry in entries:
            shown = f"{path}/{entry.name}"
            if self._recorded(shown) or self._left_out(shown):
                continue
            if shown not in packaged:
                self._record(shown, readable=True)
            elif entry.is_dir(follow_symlinks=False):
                self.record_unpackaged(shown, packaged)

    def _record(self, path: str, readable: bool) -> dict[str, Any]:
        real = self.real(path)
        try:
            status = os.lstat(real)
        except FileNotFoundError:  # gone since its directory was read
            return {}
        facts: dict[str, Any] = {
            "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            "owner": self._owners.get(status.st_uid, str(status.st_uid)),
            "group": self._groups.get(status.st_gid, str(status.st_gid)),
        }
        if stat.S_ISLNK(status.st_mode):
            facts.update(type="link", target=text(os.readlink(real)))
        elif stat.S_ISDIR(status.st_mode):
            facts["type"] = "directory"
        elif stat.S_ISREG(status.st_mode):
            facts["type"] = "file"
            readable = readable and bool(status.st_mode & stat.S_IROTH)
            facts.update(self._content(path, status.st_size, readable))
        else:
            facts["type"] = "other"
        self.entries[text(path)] = facts
        return facts

    def _content(self, path: str, size: int, readable: bool) -> dict[str, Any]:
        if self._content_free(path) or not (readable or self._hashed_anyway(path)):
            return {"sha256": None}
        if size > MAX_HASHED and not path.startswith(_OURS):
            return {"size": size}
        return {"sha256": sha256_file(self.real(path)) if size else _EMPTY}


_EMPTY = hashlib.sha256(b"").hexdigest()


def text(name: str) -> str:
    """Return a file name as text that JSON can hold: bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match


def _packaged_paths(root: str) -> set[str]:
    """Return every path that an installed package brought, as the merged /usr has it."""
    base = root.rstrip("/")
    merged = tuple(f"/{name}" for name in _MERGED if Path(f"{base}/{name}").is_symlink())
    paths: set[str] = set()
    for listing in Path(base + _PACKAGE_LISTS).glob("*.list"):
        for line in listing.read_text("utf-8", "surrogateescape").splitlines():
            first = line[: line.find("/", 1)] if line.count("/") > 1 else line
            paths.add("/usr" + line if first in merged else line)
    return paths
