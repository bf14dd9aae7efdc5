# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one host's lock in the site directory.

``<host>.lock.json`` is canonical JSON, ``<host>.lock.<serial>.dsse.json`` its signature, and
``<host>.observed.json`` the latest observation. Each lock ever made has an entry in the ledger.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..module_utils import canonical, ledger, state
from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited, write_atomic
from ..module_utils.lock_memory import Place
from . import signing
from .witness import record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_ENVELOPE = 64 * 1024
_SIGNED = "lock-"


@dataclass(frozen=True)
class Kept:
    """A lock as it was found; ``place`` is None when nobody signed it."""

    lock: dict[str, Any]
    place: Place | None


class LockFiles:
    """Reads and writes the files of ``host`` below ``site_dir``; ``check`` writes nothing."""

    def __init__(self, site_dir: Path, host: str, *, passphrase: str = "", check: bool = False):
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
        self._passphrase = passphrase

    @functools.cached_property
    def key(self) -> Ed25519PrivateKey:
        """The signing key of the site, made on first use. Raises AirlockError, OSError."""
        return signing.load_or_make(self.directory, self._passphrase, check=self.check)

    def path(self, suffix: str) -> Path:
        """Return the path of one file of this host."""
        return self.directory / f"{self.host}.{suffix}"

    def place(self, lock: dict[str, Any]) -> Place:
        """Return the place of a lock that this site signs."""
        return Place(signing.key_id(self.key.public_key()), lock["lineage"], lock["serial"])

    def lock(self) -> Kept | None:
        """Return the lock, None when there is none yet. Raises AirlockError when it is not as signed."""
        path = self.path("lock.json")
        try:
            data = read_limited(str(path), canonical.MAX_BYTES)
        except FileNotFoundError:
            return None
        lock = state.parse(data, host=self.host, where=str(path))
        envelope = self._envelope(lock)
        try:
            signed = canonical.loads(
                read_limited(str(envelope), _MAX_ENVELOPE), where=str(envelope)
            )
        except FileNotFoundError:
            if self._signed_before():
                raise AirlockError.refuse(
                    "the lock has no signature, and locks of this host are signed",
                    expected=str(envelope),
                    where=str(path),
                    fix="restore state/ from a backup of the site directory",
                ) from None
            return Kept(lock, None)
        key = signing.load(self.directory, self._passphrase).public_key()
        signing.verify(lock, signed, key, name=self.name, where=str(envelope))
        return Kept(lock, self.place(lock))

    def keep_observation(self, observation: dict[str, Any]) -> None:
        """Keep the latest observation; a file that holds it already is left alone."""
        data = canonical.dumps(observation) + b"\n"
        path = self.path("observed.json")
        if not (path.is_file() and path.read_bytes() == data):
            self._write(path, data)

    def keep_lock(self, lock: dict[str, Any], kind: str, reason: str) -> None:
        """Enter a lock in the ledger, sign it, and put it in the place of the one before."""
        place = self.place(lock)
        result = {
            **place.document(),
            "digest": state.digest(lock),
            "previous": lock["previous"],
            "state_digest": lock["state_digest"],
            "reason": reason,
        }
        if self.check:
            return
        self.directory.mkdir(mode=0o755, exist_ok=True)
        # In this order, whatever a power cut leaves is whole: the ledger explains each lock, and the lock
        # that is there has its signature.
        record(self.directory, [ledger.Event(f"{_SIGNED}{kind}", self.host, result)])
        envelope = self._envelope(lock)
        signed = signing.sign(lock, self.key, name=self.name)
        self._write(envelope, json.dumps(signed, indent=1, sort_keys=True).encode() + b"\n")
        self._write(self.path("lock.json"), canonical.dumps(lock) + b"\n")
        for older in self.directory.glob(f"{glob.escape(self.host)}.lock.*.dsse.json"):
            if older != envelope:
                with contextlib.suppress(FileNotFoundError):
                    older.unlink()

    @property
    def name(self) -> str:
        """What the signature calls the lock."""
        return f"{self.host}.lock.json"

    def _envelope(self, lock: dict[str, Any]) -> Path:
        return self.path(f"lock.{lock['serial']}.dsse.json")

    def _signed_before(self) -> bool:
        return any(
            entry["kind"].startswith(_SIGNED) and entry["subject"] == self.host
            for entry in ledger.read(str(self.directory))
        )

    def _write(self, path: Path, data: bytes) -> None:
        if not self.check:
            self.directory.mkdir(mode=0o755, exist_ok=True)
            write_atomic(str(path), data)
