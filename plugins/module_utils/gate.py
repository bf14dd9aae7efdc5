# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load gate: three looks at the model of a release, before its unit starts and after.

``admit`` proves the file in the store, as root, and leaves a ticket that names its inode. ``seen`` holds
what the unit sees behind its mounts against the ticket, ``mapped`` what the runtime really mapped. Ticket
and refusals lie in a directory of /run that only root may write to.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import artifacts_schema as schema
from . import canonical, custody, manifests
from .custody import Finding, Subject
from .errors import AirlockError
from .files import read_limited, write_atomic
from .receipts import Book, Identity, Moment

DIRECTORY = "/run/airlock/gate"
_MANIFEST_LIMIT = 16 * 1024 * 1024
_LIMIT = 64 * 1024
_INODE = ("dev", "ino", "size", "mtime_ns", "ctime_ns")


@dataclass(frozen=True)
class Files:
    """What the gate keeps about one release: ``ticket`` for the looks to come, ``refusal`` of the last start."""

    ticket: str
    refusal: str

    @classmethod
    def of(cls, release: str, directory: str = DIRECTORY) -> Files:
        """Return the files of ``release``."""
        base = os.path.join(directory, release)
        return cls(f"{base}.json", f"{base}.refused.json")


def subject_of(manifest_path: str, digest: str, path: str) -> Subject:
    """Return what the file at ``path`` has to be for the one file of a manifest with this ``digest``.

    Raises AirlockError, OSError.
    """
    manifest = manifests.parse(read_limited(manifest_path, _MANIFEST_LIMIT), manifest_path)
    if manifest.digest != digest:
        raise AirlockError.refuse(
            "the manifest is not the one that the release was made from",
            expected=f"digest {digest}",
            found=manifest.digest,
            where=manifest_path,
            fix="run the playbook 'site'",
        )
    if len(manifest.files) != 1:
        raise AirlockError.refuse(
            "the manifest is not of one file",
            found=f"{len(manifest.files)} files",
            where=manifest_path,
        )
    return replace(custody.subjects(manifest)[0], path=path)


def admit(subject: Subject, book: Book, moment: Moment, files: Files | None = None) -> Finding:
    """Prove the file and leave a ticket, or refuse. Raises AirlockError, OSError.

    A refusal for which bytes had to be read is remembered until file, manifest or receipt are others.
    """
    cheap = custody.glance(subject, book, moment)
    situation = _situation(cheap, subject, book)
    if files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(files.ticket)
        remembered = _read(files.refusal)
        if remembered and remembered.get("situation") == situation:
            raise AirlockError(
                f"{remembered['sentence']} Nothing has changed since it was refused."
            )
    # The pages stay cached: the runtime loads the file next.
    finding = custody.prove(subject, book, moment, keep_cache=True)
    if finding.state != custody.OK or finding.identity is None:
        refusal = AirlockError.refuse(
            "the file is not the approved one",
            expected=finding.expected,
            found=finding.found,
            where=subject.path,
            fix="run the playbook 'site' to bring it anew",
        )
        if files and finding.read:
            # The receipt is gone by now; what the next start finds is what has to be recognised.
            again = _situation(custody.glance(subject, book, moment), subject, book)
            _write(files.refusal, {"situation": again, "sentence": str(refusal)})
        raise refusal
    if files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(files.refusal)
        leave(finding.identity, files)
    return finding


def leave(identity: Identity, files: Files) -> None:
    """Leave the ticket of an admitted file for the looks to come. Raises OSError."""
    _write(files.ticket, {"version": 1, **_inode(identity)})


def seen(path: str, files: Files) -> None:
    """Refuse unless the file at ``path``, as this process sees it, is the admitted one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = _inode(Identity.of(descriptor))
    finally:
        os.close(descriptor)
    wanted = _ticket(files)
    if found != wanted:
        raise _other("what the unit sees is not the file that was admitted", wanted, found, path)


def mapped(pid: int, path: str, files: Files) -> None:
    """Refuse unless process ``pid`` has mapped the admitted file, and none but it as ``path``.

    Asks /proc/<pid>/map_files (proc(5)), whose device and inode numbers are those of stat(2) on every
    file system, which those in maps are not. Raises AirlockError, OSError.
    """
    wanted = _ticket(files)
    found: set[tuple[int, int]] = set()
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        lines = [line.split(maxsplit=5) for line in maps]
    for fields in lines:
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue
        low, high = (int(number, 16) for number in fields[0].split("-"))
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(f"/proc/{pid}/map_files/{low:x}-{high:x}")
            number = (status.st_dev, status.st_ino)
            if number == (wanted["dev"], wanted["ino"]) or fields[5].strip() == path:
                found.add(number)
    if found != {(wanted["dev"], wanted["ino"])}:
        numbers = ", ".join(f"device {dev}, inode {ino}" for dev, ino in sorted(found))
        raise AirlockError.refuse(
            "the runtime has not loaded the file that was admitted",
            expected=f"a mapping of device {wanted['dev']}, inode {wanted['ino']}",
            found=numbers or "none",
            where=f"/proc/{pid}/maps",
        )


def _situation(glance: Finding, subject: Subject, book: Book) -> str:
    """Return a digest of all that a refusal depends on."""
    identity = asdict(glance.identity) if glance.identity else None
    receipt = book.read(subject.path, subject.manifest)
    return canonical.digest(
        {
            "manifest": subject.manifest,
            "identity": identity,
            "receipt": asdict(receipt) if receipt else None,
        }
    )


def _inode(identity: Identity) -> dict[str, int]:
    return {name: getattr(identity, name) for name in _INODE}


def _ticket(files: Files) -> dict[str, int]:
    value = schema.fields(_read(files.ticket) or {}, files.ticket, required=("version", *_INODE))
    return {name: schema.integer(value[name], files.ticket, 0, 2**64) for name in _INODE}


def _read(path: str) -> dict[str, Any] | None:
    try:
        value = canonical.loads(read_limited(path, _LIMIT), where=path)
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def _write(path: str, value: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, canonical.dumps(value) + b"\n", mode=0o644)


def _other(what: str, wanted: dict[str, int], found: dict[str, int], where: str) -> AirlockError:
    odd = [name for name in wanted if wanted[name] != found[name]]
    return AirlockError.refuse(
        what,
        expected=", ".join(f"{name} {wanted[name]}" for name in odd),
        found=", ".join(f"{name} {found[name]}" for name in odd),
        where=where,
    )
