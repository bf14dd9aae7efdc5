# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observation of a host: what it has, as one value that can be hashed and compared.

``state`` holds what two hosts made from one intent have in common; nothing in it depends on the
time, on the order in which things were made, or on the identity of the machine.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import ownership, state_accounts, state_files, state_releases, state_ruleset
from .commands import Run
from .state_files import text

VERSION = 1
STORE = "/var/lib/airlock/store"
SYSCTL = (
    "fs/protected_hardlinks",
    "fs/protected_symlinks",
    "kernel/dmesg_restrict",
    "kernel/kptr_restrict",
    "kernel/unprivileged_bpf_disabled",
    "kernel/yama/ptrace_scope",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/accept_ra",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
)
"""Kernel settings that decide who can reach or watch whom; the rest follows /etc/sysctl.d."""

NOT_COVERED: Mapping[str, str] = {
    "content of files that a package brought outside /etc": "the package and its version are compared",
    "content of files that others may not read": "a digest would let a reader test guesses of a secret",
    "files below a foreign directory in /usr or /opt": "the directory itself is reported",
    "home directories, /srv, /boot and /var": "data of people and of services; models are compared",
    "processes, connections and what is in memory": "an observation of what is installed, not of what runs",
    "firmware, partition tables and boot loader": "not visible to this look",
}
"""What an equal observation does not say, and why."""

_ADMINISTERED = ("enabled", "enabled-runtime", "linked", "masked")
_ABSENT = "not installed"
_RUNNING = ("active", "activating", "reloading")


def observe(
    run: Run, *, root: str = "/", exclude: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Look at the host and return its observation, a value for canonical JSON.

    ``exclude`` adds paths to leave out (glob pattern to reason)::

        {"version": 1, "kernel": "6.12.1", "coverage": {"covered": [...], "not_covered": {...}},
         "state": {"platform", "packages", "units", "files", "ruleset", "users", "groups",
                   "models", "sysctl"}}

    Raises AirlockError and OSError.
    """
    exclude = exclude or {}
    record = ownership.Record.load(_under(root, ownership.PATH))
    users, groups = state_accounts.observe(
        *(_read(root, f"/etc/{name}") for name in ("passwd", "group", "shadow"))
    )
    state = {
        "platform": _platform(root),
        "packages": packages(_read(root, "/var/lib/dpkg/status"), record.all_claims("packages")),
        "units": _units(run, record.all_claims("units")),
        "files": state_files.collect(
            root,
            {facts["uid"]: name for name, facts in users.items()},
            {facts["gid"]: name for name, facts in groups.items()},
            exclude,
        ),
        "ruleset": state_ruleset.observe(run),
        "users": state_accounts.without_dynamic_ids(users, "uid", record.all_claims("users")),
        "groups": state_accounts.without_dynamic_ids(groups, "gid", record.all_claims("groups")),
        "models": _models(root),
        "sysctl": _sysctl(root),
    }
    state = state_releases.without_waiting(state, root)
    return {
        "version": VERSION,
        "kernel": platform.release(),
        "state": state,
        "coverage": {
            "covered": sorted(state),
            "not_covered": {
                **NOT_COVERED,
                **state_releases.NOT_COVERED,
                **state_files.VOLATILE,
                **{
                    f"content of {path}": reason
                    for path, reason in state_files.CONTENT_FREE.items()
                },
                **exclude,
            },
        },
    }


# -- platform ------------------------------------------------------------------------------------


def _platform(root: str) -> dict[str, str]:
    """Return what must be equal before a machine can be rebuilt from a lock (os-release(5))."""
    release = {}
    for line in _read(root, "/etc/os-release").splitlines():
        key, _separator, value = line.partition("=")
        release[key] = value.strip().strip("\"'")
    return {
        "distribution": release.get("ID", "unknown"),
        "release": release.get("VERSION_ID", "unknown"),
        "arch": platform.machine(),
    }


# -- packages ------------------------------------------------------------------------------------


def packages(status: str, brought: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the installed packages of a dpkg status file (dpkg(1), deb822(5)).

    Name (``name:arch`` for a second architecture of one package) to ``version``, ``arch``,
    ``hold`` and ``brought``, the role that installed it or null.
    """
    result: dict[str, dict[str, Any]] = {}
    for stanza in status.split("\n\n"):
        fields = {}
        for line in stanza.splitlines():
            key, separator, value = line.partition(": ")
            if separator and key in ("Package", "Status", "Version", "Architecture"):
                fields[key] = value
        want, _space, installed = fields.get("Status", "").partition(" ")
        if installed != "ok installed":
            continue
        name = fields["Package"]
        if name in result:
            name = f"{name}:{fields['Architecture']}"
        result[name] = {
            "version": fields["Version"],
            "arch": fields["Architecture"],
            "hold": want == "hold",
            "brought": brought.get(fields["Package"], {}).get("role"),
        }
    return result


# -- units ---------------------------------------------------------------------------------------


def _units(run: Run, owned: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return unit files that somebody enabled or masked, and every unit of ours.

    ``enabled`` is the state of the unit file, ``running`` whether it is up; null for what comes
    and goes by design: templates, one-shots, and services that a socket or a timer starts.
    """
    status, listing = run(
        ["systemctl", "list-unit-files", "--no-legend", "--no-pager", "--plain", "--full"]
    )
    if status != 0:
        return {}
    files = {line.split()[0]: line.split()[1] for line in listing.splitlines() if line.strip()}
    wanted = {
        name
        for name, state in files.items()
        if state in _ADMINISTERED or (name.startswith("airlock-") and state != "transient")
    } | set(owned)
    templates = {name for name in wanted if "@." in name}
    return {
        **{name: {"enabled": files.get(name, _ABSENT), "running": None} for name in templates},
        **_show(run, sorted(wanted - templates)),
    }


def _show(run: Run, names: list[str]) -> dict[str, dict[str, Any]]:
    if not names:
        return {}
    properties = "Id,UnitFileState,ActiveState,TriggeredBy,Type,RemainAfterExit"
    _status, output = run(
        ["systemctl", "show", "--no-pager", f"--property={properties}", "--", *names]
    )
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in output.split("\n\n")
    ]
    return {unit["Id"]: _unit(unit) for unit in blocks if "Id" in unit}


def _unit(unit: Mapping[str, str]) -> dict[str, Any]:
    passing = unit.get("Type") == "oneshot" and unit.get("RemainAfterExit") != "yes"
    running = unit.get("ActiveState") in _RUNNING
    return {
        "enabled": unit.get("UnitFileState") or _ABSENT,
        "running": None if passing or unit.get("TriggeredBy") else running,
    }


# -- models and kernel settings ------------------------------------------------------------------


def _models(root: str) -> dict[str, dict[str, int]]:
    """Return the entries of the store: name (``sha256-<hex>``) to size in bytes.

    Digests are not taken again: the load gate does that before a model runs.
    """
    store = Path(_under(root, STORE))
    if not store.is_dir():
        return {}
    return {text(entry.name): {"size": entry.lstat().st_size} for entry in store.iterdir()}


def _sysctl(root: str) -> dict[str, str]:
    settings = {}
    for key in SYSCTL:
        path = Path(_under(root, f"/proc/sys/{key}"))
        if path.exists():
            settings[key.replace("/", ".")] = path.read_text().strip()
    return settings


def _under(root: str, path: str) -> str:
    return root.rstrip("/") + path


def _read(root: str, path: str) -> str:
    return Path(_under(root, path)).read_text("utf-8", "backslashreplace")
