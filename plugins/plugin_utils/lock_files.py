# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one host's lock in the site directory.

``<host>.lock.json`` is canonical JSON, ``<host>.lock.<serial>.dsse.json`` its signature, and
``<host>.observed.json`` the latest observation. Each lock ever made has an entry in the ledger, and the
last entry of a host says which lock is its newest: ``<host>.lock.new.json`` is the lock from then on.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..module_utils import canonical, ledger, lock_memory, state
from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited, sha256_bytes, write_atomic
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

    @functools.cached_property
    def entered(self) -> Place | None:
        """The place of the host's last lock in the ledger. Raises AirlockError, OSError."""
        for entry in reversed(ledger.read(str(self.directory))):
            if entry["kind"].startswith(_SIGNED) and entry["subject"] == self.host:
                place = {field.name: entry["result"].get(field.name) for field in fields(Place)}
                return lock_memory.parse(place, f"entry {entry['seq']} of the ledger")
        return None

    def path(self, suffix: str) -> Path:
        """Return the path of one file of this host."""
        return self.directory / f"{self.host}.{suffix}"

    def place(self, lock: dict[str, Any]) -> Place:
        """Return the place of a lock that this site signs."""
        key_id = signing.key_id(self.key.public_key())
        return Place(key_id, lock["lineage"], lock["serial"], state.digest(lock))

    def lock(self) -> Kept | None:
        """Return the lock, None when there is none yet. Raises AirlockError when it is not as signed."""
        path = self._finished()
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
            if self.entered:
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

    def accepted(self, remembered: Place | None = None) -> Kept:
        """Return the lock, which has to be there, signed, and the one that host and ledger know.

        ``remembered`` is what the host remembers. Raises AirlockError, OSError.
        """
        kept = self.lock()
        if kept is None:
            raise AirlockError.refuse(
                f"the host {self.host} has no lock",
                where=str(self.path("lock.json")),
                fix="run site.yml on the machine first, or restore the file from a backup",
            )
        if objection := self.objection(kept, remembered):
            raise objection
        if not (kept.place and self.entered):
            raise AirlockError.refuse(
                "the ledger has no entry of the lock"
                if kept.place
                else "the lock has no signature",
                where=str(self.path("lock.json")),
                fix="restore state/ from a backup of the site directory, or, if the lock is from before "
                "locks were signed, run site.yml, which signs it as it is",
            )
        return kept

    def objection(self, kept: Kept | None, remembered: Place | None) -> AirlockError | None:
        """Return why host or ledger do not take what was found, or None; the owner may overrule it.

        A lock that nobody signed or entered is taken where neither host nor ledger knows of one.
        Raises AirlockError, OSError.
        """
        where = str(self.path("lock.json"))
        if kept and kept.place is None and remembered:
            return AirlockError.refuse(
                "the lock has no signature, and the host has accepted a signed one",
                expected=str(remembered),
                where=where,
                fix=lock_memory.RESTORE,
            )
        place = kept.place if kept else None
        if found := lock_memory.objection(place, remembered, where):
            return found
        if place and self.entered:
            return lock_memory.objection(place, self.entered, where, ledger=True)
        return self._lost_ledger()

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
            "previous": lock["previous"],
            "state_digest": lock["state_digest"],
            "reason": reason,
        }
        if self.check:
            return
        self.directory.mkdir(mode=0o755, exist_ok=True)
        # The entry in the ledger is what counts: before it the old lock is the lock, and after it the new
        # one, with its signature, wherever a power cut or a full disk comes in between.
        self._write(self._new, canonical.dumps(lock) + b"\n")
        envelope = self._envelope(lock)
        signed = signing.sign(lock, self.key, name=self.name)
        self._write(envelope, json.dumps(signed, indent=1, sort_keys=True).encode() + b"\n")
        record(self.directory, [ledger.Event(f"{_SIGNED}{kind}", self.host, result)])
        os.replace(self._new, self.path("lock.json"))
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

    @property
    def _new(self) -> Path:
        return self.path("lock.new.json")

    def _finished(self) -> Path:
        """Return the file of the lock, after what was cut off behind its entry in the ledger."""
        path = self.path("lock.json")
        try:
            data = read_limited(str(self._new), canonical.MAX_BYTES)
        except FileNotFoundError:
            return path
        if self.entered is None or self.entered.digest != sha256_bytes(data.rstrip(b"\n")):
            return path
        if self.check:
            return self._new
        os.replace(self._new, path)
        return path

    def _lost_ledger(self) -> AirlockError | None:
        """Return the refusal of a ledger that does not name the signing key."""
        if not (self.directory / signing.KEY_FILE).exists():
            return None
        key_id = signing.key_id(self.key.public_key())
        # Read now, after the key: its entry is made before it, perhaps by the run for another host.
        entries = ledger.read(str(self.directory))
        if any(
            entry["result"].get("key") == key_id
            and (entry["kind"] == signing.MADE or entry["kind"].startswith(_SIGNED))
            for entry in entries
        ):
            return None
        return AirlockError.refuse(
            "the ledger does not name the signing key that is there, so it is lost or cut",
            found=f"{len(entries)} entries",
            where=str(self.directory / ledger.FILE),
            fix=lock_memory.RESTORE,
        )

    def _write(self, path: Path, data: bytes) -> None:
        if not self.check:
            self.directory.mkdir(mode=0o755, exist_ok=True)
            write_atomic(str(path), data)
