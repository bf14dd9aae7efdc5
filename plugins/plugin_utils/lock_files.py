# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one host's lock in the site directory.

``<host>.lock.json`` is canonical JSON, ``<host>.observed.json`` the latest observation, and
``<host>.ledger.jsonl`` has one line for each lock ever made: when, why, and the digests of the
lock and of the one before.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..module_utils import canonical, state
from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited, write_atomic


class LockFiles:
    """Reads and writes the files of ``host`` below ``site_dir``; ``check`` writes nothing."""

    def __init__(self, site_dir: Path, host: str, *, check: bool = False):
        if not site_dir.is_dir():
            raise AirlockError.refuse(
                "the site directory does not exist",
                where=str(site_dir),
                fix="set airlock_site_dir to the directory of your inventory",
            )
        if not host or host != Path(host).name or host.startswith("."):
            raise AirlockError.refuse("this host name cannot be a file name", found=ascii(host))
        self.directory = site_dir / "state"
        self.host = host
        self.check = check

    def path(self, suffix: str) -> Path:
        """Return the path of one file of this host."""
        return self.directory / f"{self.host}.{suffix}"

    def lock(self) -> dict[str, Any] | None:
        """Return the lock, or None when there is none yet. Raises AirlockError."""
        path = self.path("lock.json")
        try:
            data = read_limited(str(path), canonical.MAX_BYTES)
        except FileNotFoundError:
            return None
        return state.parse(data, host=self.host, where=str(path))

    def keep_observation(self, observation: dict[str, Any]) -> None:
        """Keep the latest observation; a file that holds it already is left alone."""
        data = canonical.dumps(observation) + b"\n"
        path = self.path("observed.json")
        if not (path.is_file() and path.read_bytes() == data):
            self._write(path, data)

    def keep_lock(self, lock: dict[str, Any], kind: str, reason: str) -> None:
        """Replace the lock and enter it in the ledger."""
        entry = {
            "kind": kind,
            "serial": lock["serial"],
            "lineage": lock["lineage"],
            "digest": state.digest(lock),
            "previous": lock["previous"],
            "state_digest": lock["state_digest"],
            "reason": reason,
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        ledger = self.path("ledger.jsonl")
        history = ledger.read_bytes() if ledger.exists() else b""
        # The ledger first: a lock without its entry would be a change nobody can explain.
        self._write(ledger, history + canonical.dumps(entry) + b"\n")
        self._write(self.path("lock.json"), canonical.dumps(lock) + b"\n")

    def _write(self, path: Path, data: bytes) -> None:
        if self.check:
            return
        self.directory.mkdir(mode=0o755, exist_ok=True)
        write_atomic(str(path), data)
