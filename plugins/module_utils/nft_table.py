# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Table ``inet airlock`` as the kernel has it and as its file defines it."""

from __future__ import annotations

import json
from typing import Any

from . import canonical
from .commands import Run
from .errors import AirlockError
from .state_ruleset import normalise_ruleset

TABLE = ("inet", "airlock")

_LIST = ["nft", "-j", "list", "table", *TABLE]
# In a network namespace of its own the file is loaded for real, and nobody notices.
_LOAD_AND_LIST = 'nft -f "$1" && shift && exec "$@"'


def installed(run: Run) -> bool:
    """Is there an nft to ask?"""
    return run(["nft", "--version"])[0] == 0


def loaded(run: Run) -> Any:
    """Return the normalised table as the kernel has it, None when there is none."""
    status, output = run(_LIST)
    return normalise_ruleset(json.loads(output)["nftables"]) if status == 0 else None


def defined(run: Run, path: str) -> Any:
    """Return the normalised table that the file at ``path`` defines. Raises AirlockError."""
    return normalise_ruleset(json.loads(_in_scratch_namespace(run, path, _LIST))["nftables"])


def digest(table: Any) -> str | None:
    """Return the SHA-256 of a normalised table, None for no table."""
    return None if table is None else canonical.digest(table)


def text_loaded(run: Run) -> str:
    """Return the table of the kernel for a person to read, without counters; "" when there is none."""
    status, output = run(["nft", "-s", "list", "table", *TABLE])
    return output if status == 0 else ""


def text_defined(run: Run, path: str) -> str:
    """Return the table of the file at ``path`` in the form of `text_loaded`. Raises AirlockError."""
    return _in_scratch_namespace(run, path, ["nft", "-s", "list", "table", *TABLE])


def counters(run: Run, unit: str = "packets") -> dict[str, int] | None:
    """Return the ``unit`` ("packets", "bytes") seen by each named counter, None without the table."""
    status, output = run(["nft", "-j", "list", "counters", "table", *TABLE])
    if status != 0:
        return None
    entries = (item["counter"] for item in json.loads(output)["nftables"] if "counter" in item)
    return {entry["name"]: entry[unit] for entry in entries}


def rose(before: dict[str, int] | None, after: dict[str, int] | None) -> dict[str, int]:
    """Return by how much each counter rose; one that was made anew rose from nothing."""
    old = before or {}
    return {
        name: packets - old.get(name, 0) if packets >= old.get(name, 0) else packets
        for name, packets in (after or {}).items()
    }


def drift(run: Run, path: str) -> str:
    """Return in a sentence how the table of the kernel differs from the file, "" if it does not.

    Raises AirlockError when the file cannot be loaded.
    """
    found = loaded(run)
    if found is None:
        return f"Table {' '.join(TABLE)} is not loaded."
    if digest(found) != digest(defined(run, path)):
        return f"The loaded table {' '.join(TABLE)} is not that of {path}."
    return ""


def _in_scratch_namespace(run: Run, path: str, command: list[str]) -> str:
    status, output = run(["unshare", "--net", "sh", "-c", _LOAD_AND_LIST, "sh", path, *command])
    if status != 0:
        raise AirlockError.refuse(
            "the rules cannot be loaded",
            expected=f"a file that defines table {' '.join(TABLE)}",
            found=output.strip(),
            where=path,
        )
    return output
