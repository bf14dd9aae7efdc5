# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages that a role needs, with a record of exactly those that it brought."""

from __future__ import annotations

import os
import re

from .commands import Run
from .errors import AirlockError
from .managed import UNIT_DIRECTORY
from .ownership import Record

_STEP = re.compile(r"^(Inst|Purg|Remv) ([^ ]+)", re.MULTILINE)


def installed(run: Run) -> dict[str, str]:
    """Return the installed packages, name to version (dpkg-query(1)). Raises AirlockError."""
    output = _must(run, ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n"])
    rows = (line.split() for line in output.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith("ii")}


def install(
    role: str,
    names: list[str],
    record: Record,
    run: Run,
    *,
    versions: dict[str, str],
    mask: list[str],
    optional: list[str],
    check: bool,
) -> list[str]:
    """Install what is missing; return a sentence for each package that came.

    ``versions`` pins packages and the dependencies that they bring, where it names them.
    ``mask`` lists units that must not start with their package, ``optional`` packages that are
    left out where no package source has them. Raises AirlockError.
    """
    before = installed(run)
    missing = sorted({*names, *optional} - set(before))
    if missing and not check:
        _must(run, ["apt-get", "update", "-q"])
    missing = [name for name in missing if name not in optional or _is_offered(run, name)]
    if not missing:
        return []
    if check:
        return [f"{name}: the package is missing" for name in missing]
    for unit in mask:
        _mask(role, unit, record)
    plan = _steps(_apt(run, "--simulate", "install", *missing), "Inst")
    pinned = [f"{name}={versions[name]}" for name in plan if name in versions]
    free = [name for name in missing if name not in versions]
    try:
        _apt(run, "install", *pinned, *free)
    finally:  # what an interrupted installation has unpacked is ours all the same
        brought = {name: version for name, version in installed(run).items() if name not in before}
        for name, version in brought.items():
            record.claim(role, "packages", name, version=version)
    return [f"{name} {version}: installed" for name, version in sorted(brought.items())]


def remove(role: str, record: Record, run: Run, *, check: bool) -> list[str]:
    """Purge what ``role`` brought and unmask its units; return a sentence for each package.

    A package that something else has come to depend on stays, and is said to. Raises AirlockError.
    """
    ours = sorted(set(record.claims(role, "packages")) & set(installed(run)))
    stays: list[str] = []
    if ours and _taken_along(run, ours):
        stays = [name for name in ours if _taken_along(run, [name], allowed=ours)]
    going = [name for name in ours if name not in stays]
    reasons = [f"{name}: purged" for name in going]
    reasons += [f"{name}: kept, because something that you installed needs it" for name in stays]
    if check:
        return reasons
    if going:
        _apt(run, "purge", *going)
    for name in record.claims(role, "packages"):
        record.release(role, "packages", name)
    for path in record.claims(role, "links"):
        if path.startswith(UNIT_DIRECTORY) and os.path.islink(path):
            os.unlink(path)
        record.release(role, "links", path)
    return reasons


def _taken_along(run: Run, names: list[str], allowed: list[str] | None = None) -> set[str]:
    plan = set(_steps(_apt(run, "--simulate", "purge", *names), "Purg"))
    return plan - set(allowed or names)


def _is_offered(run: Run, name: str) -> bool:
    """Say whether a package source has it (apt-cache(8), madison)."""
    return bool(_must(run, ["apt-cache", "madison", name]).strip())


def _mask(role: str, unit: str, record: Record) -> None:
    path = UNIT_DIRECTORY + unit
    if not os.path.lexists(path):
        os.symlink("/dev/null", path)
        record.claim(role, "links", path, target="/dev/null")


def _steps(output: str, action: str) -> list[str]:
    return [name.split(":")[0] for step, name in _STEP.findall(output) if step == action]


def _apt(run: Run, *words: str) -> str:
    options = ["-q", "-y", "--no-install-recommends"]
    for setting in ("Dpkg::Options::=--force-confold", "APT::Keep-Downloaded-Packages=false"):
        options += ["-o", setting]
    return _must(run, ["apt-get", *options, *words])


def _verb(command: list[str]) -> str:
    verbs = [word for word in command if word in ("update", "install", "purge")]
    return " ".join(command[command.index(verbs[0]) :] if verbs else command[1:])


def _must(run: Run, command: list[str]) -> str:
    status, output = run(command)
    if status != 0:
        lines = [line for line in output.splitlines() if line.startswith(("E:", "Err:"))]
        raise AirlockError.refuse(
            f"{command[0]} could not '{_verb(command)}'",
            found=" ".join(lines)[:600] or output.strip()[-600:],
            fix="check airlock_apt_proxy and the package sources of the host",
        )
    return output
