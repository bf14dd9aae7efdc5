# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change may alter on a host, remembered before it and put back after it.

A state is a plain value that canonical JSON can hold::

    {"files": {path: null | {"content": base64, "mode": 420, "uid": 0, "gid": 0} | {"target": "..."}},
     "directories": [those that were not there], "role": "egress", "record": {...},
     "units": [those of the role], "active": {unit: true}}

Kernel tables are a text for nft(8) beside it, one transaction that makes each table what it was.
"""

from __future__ import annotations

import base64
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .commands import Run
from .errors import AirlockError
from .files import fsync_directory, read_limited, write_atomic
from .managed import UNIT_DIRECTORY, displaced_path
from .managed_plan import Plan
from .ownership import Record, exclusive

_MAX_BYTES = 64 * 1024 * 1024
_EXPIRING = re.compile(r"(\bflags [a-z,]*\btimeout\b[^\n]*\n)\s*elements = \{[^}]*\}\n")


def state_of(plan: Plan, running: Sequence[str], run: Run, record_path: str) -> dict[str, Any]:
    """Return the state of everything that carrying out ``plan`` can touch.

    That is what the role has and what it would have, files and links, with how its units are
    enabled, its entry in the record, and whether the units ``running`` run. Raises AirlockError.
    """
    record = Record.load(record_path)
    owned = [record.claims(plan.role, kind) for kind in ("files", "links")]
    paths = {path for claims in owned for path in claims}
    paths |= {facts["displaced"] for facts in owned[0].values() if "displaced" in facts}
    paths |= {file.path for file in plan.files} | {link.path for link in plan.links}
    paths |= {displaced_path(file.path) for file in plan.files if file.adopt}
    units = _units(plan, record)
    paths |= set(_enabling(units))
    return {
        "files": {path: _read(path) for path in sorted(paths)},
        "directories": _missing([*(entry.path for entry in plan.directories), *map(_dir, paths)]),
        "role": plan.role,
        "record": record.entry(plan.role),
        "units": units,
        "active": {unit: active(run, unit) for unit in sorted({*units, *running})},
    }


def tables_of(tables: Sequence[str], run: Run) -> str:
    """Return what makes the kernel's ``tables`` ("inet airlock") what they are now, counters included.

    A table that is there is removed and defined in one transaction, one that is not is removed.
    """
    text = ""
    for table in tables:
        status, listed = run(["nft", "list", "table", *table.split()])
        # Naming it first makes removing it no error where it is not there (nft(8)).
        text += f"table {table}\ndelete table {table}\n{_lasting(listed) if status == 0 else ''}"
    return text


def _lasting(listed: str) -> str:
    """Return the table without elements that expire: put back, they would begin their time anew."""
    return _EXPIRING.sub(r"\1", listed)


def active(run: Run, unit: str) -> bool:
    """Does the unit run?"""
    return run(["systemctl", "is-active", "--quiet", unit])[0] == 0


def put_back(
    state: dict[str, Any],
    tables: str,
    commands: Iterable[list[str]],
    run: Run,
    record_path: str,
    *,
    boot: bool,
) -> list[str]:
    """Make the host what ``state`` and the file ``tables`` say, then run ``commands``.

    At boot the kernel holds no table yet and no unit runs, so that the files decide. Every step is
    tried, whatever became of those before it. Returns what is to be said of commands that failed,
    once the state itself is back; raises AirlockError when it is not.
    """
    failures: list[str] = []

    def attempt(step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except (AirlockError, OSError) as exc:
            failures.append(str(exc))

    def must(*command: str) -> None:
        status, output = run(list(command))
        if status != 0:
            raise AirlockError.refuse(f"'{' '.join(command)}' failed", found=output.strip())

    if not boot:
        for unit, was_active in state["active"].items():
            if not was_active and active(run, unit):
                attempt(must, "systemctl", "stop", unit)
    wanted = {**dict.fromkeys(_enabling(state["units"])), **state["files"]}
    for path, entry in wanted.items():
        attempt(_write, path, entry)
    attempt(_put_back_record, state, record_path)
    attempt(_remove_empty, state["directories"])
    if any(path.startswith(UNIT_DIRECTORY) for path in wanted):
        attempt(must, "systemctl", "daemon-reload")
    if not boot:
        if os.path.getsize(tables):
            attempt(must, "nft", "-f", tables)
        for unit, was_active in state["active"].items():
            if was_active and not active(run, unit):
                attempt(must, "systemctl", "start", unit)
    complaints: list[str] = []
    for command in commands:
        status, output = run(list(command))
        if status != 0:
            complaints.append(f"'{' '.join(command)}' failed: {' '.join(output.split())}")
    if failures:
        raise AirlockError(" ".join([*failures, *complaints]))
    return complaints


def _units(plan: Plan, record: Record) -> list[str]:
    return sorted({*plan.units, *record.claims(plan.role, "units")})


def _enabling(units: Iterable[str]) -> list[str]:
    """Return the links that enable or mask the units now (systemctl(1), enable and mask)."""
    found = [
        path
        for unit in units
        for pattern in ("", "*.wants/", "*.requires/")
        for path in glob.glob(f"{UNIT_DIRECTORY}{pattern}{glob.escape(unit)}")
    ]
    return [path for path in found if os.path.islink(path)]


def _dir(path: str) -> str:
    return os.path.dirname(path)


def _missing(directories: Iterable[str]) -> list[str]:
    """Return those directories that do not exist, with their parents, parents first."""
    missing: set[str] = set()
    for directory in directories:
        while not os.path.lexists(directory):
            missing.add(directory)
            directory = os.path.dirname(directory)
    return sorted(missing)


def _read(path: str) -> dict[str, Any] | None:
    try:
        now = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(now.st_mode):
        return {"target": os.readlink(path)}
    content = base64.b64encode(read_limited(path, _MAX_BYTES)).decode()
    mode = stat.S_IMODE(now.st_mode)
    return {"content": content, "mode": mode, "uid": now.st_uid, "gid": now.st_gid}


def _write(path: str, entry: dict[str, Any] | None) -> None:
    """Make ``path`` what `_read` has returned, for good (fsync(2)); leave it alone if it is that."""
    if _read(path) == entry:
        return
    if entry is not None and "content" in entry:
        os.makedirs(_dir(path), exist_ok=True)
        content = base64.b64decode(entry["content"])
        write_atomic(path, content, mode=entry["mode"], uid=entry["uid"], gid=entry["gid"])
        return
    if os.path.lexists(path):
        os.unlink(path)
    if entry is not None:
        os.makedirs(_dir(path), exist_ok=True)
        os.symlink(entry["target"], path)
    fsync_directory(_dir(path))


def _put_back_record(state: dict[str, Any], path: str) -> None:
    with exclusive(path):
        record = Record.load(path)
        record.put_back(state["role"], state["record"])
        record.save(path)


def _remove_empty(directories: Sequence[str]) -> None:
    for directory in reversed(directories):
        if os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)
