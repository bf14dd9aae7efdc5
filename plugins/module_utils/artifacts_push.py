# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving half of a push: what a host has, and how an upload becomes an artifact.

The connection's ordinary user uploads into a directory of its own; root copies from there while hashing,
into files that nobody else ever had open, so that what was hashed is what is kept. What a broken connection
left of an upload is gone on with; the digest of the whole decides.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from . import artifacts_wheel as wheels
from . import custody, digests, formats, sealing
from .artifacts import Content, human
from .artifacts_adopt import adopt as copy_on_host
from .artifacts_adopt import open_plain
from .artifacts_copy import copy_verified
from .errors import AirlockError
from .files import fsync_directory
from .ownership import Record
from .receipts import Book, Moment

_STAGING, _PRIVATE = custody.UNDER_WAY
_FULL = (errno.ENOSPC, errno.EDQUOT)


Save = Callable[[], object]
"""Keeps the ownership record, which has changed."""


def _later() -> None:
    """Leave that to the caller."""


@dataclass(frozen=True)
class Push:
    """One artifact and its place: a file with ``mode``, or a directory when ``wheel`` is true.

    A file of a model has what its model calls it as ``model_file``, and names the digest of its ``manifest``:
    it is sealed and gets a receipt. ``found_at`` is a file of the host that has the content and is copied
    instead of an upload. ``proven`` says that the caller has verified the place already in this play.
    """

    content: Content
    path: str
    mode: int = 0o444
    wheel: bool = False
    proven: bool = False
    found_at: str = ""
    model_file: str = ""
    manifest: str = ""

    @property
    def subject(self) -> custody.Subject:
        """Return what the file has to be."""
        return custody.Subject(
            self.path, self.content, self.manifest, owner=os.geteuid(), mode=self.mode
        )


def lacking(
    pushes: Iterable[Push], role: str, record: Record, book: Book
) -> list[tuple[Push, str]]:
    """Return the artifacts that the host cannot prove it has, each with the reason."""
    found = []
    for push in pushes:
        reason = None if push.proven else _flaw(push, role, record, book)
        if reason is not None:
            found.append((push, reason))
    return found


def stage(
    missing: list[Push], uploader: int, role: str, record: Record
) -> tuple[str, dict[str, int]]:
    """Make the upload directory (0700, of user id ``uploader``) beside the first destination, or find it again.

    Missing parents are made and claimed. Returns the directory, and by name of the object how many bytes of it
    an interrupted push has left there. Raises AirlockError when the file system cannot hold the uploads
    and their copies.
    """
    for push in missing:
        _make_directory(os.path.dirname(push.path), role, record)
    parent = os.path.dirname(missing[0].path)
    wanted = {push.content.object_name: push.content.size for push in missing}
    path, have = _resume(parent, uploader, wanted)
    needed = sum(wanted.values()) - sum(have.values()) + max(wanted.values())
    room = os.statvfs(parent)
    free = room.f_bavail * room.f_frsize
    if needed > free:
        if path:
            discard(path)
        raise AirlockError.refuse(
            "the disk is too full for what would be pushed",
            expected=f"{human(needed)} free",
            found=human(free),
            where=parent,
            fix="make room, then run again; nothing was sent",
        )
    if not path:
        path = os.path.join(parent, f"{_STAGING}{secrets.token_hex(6)}")
        os.mkdir(path, 0o700)
        os.chown(path, uploader, -1)
    return path, have


def _resume(parent: str, uploader: int, wanted: dict[str, int]) -> tuple[str, dict[str, int]]:
    """Find what an interrupted push left: its directory ('' for none) and its uploads; the rest is removed."""
    kept, have = "", {}
    for name in sorted(os.listdir(parent)):
        path = os.path.join(parent, name)
        if not name.startswith((_STAGING, _PRIVATE)):
            continue
        now = os.lstat(path)
        ours = stat.S_ISDIR(now.st_mode) and stat.S_IMODE(now.st_mode) == 0o700
        if kept or name.startswith(_PRIVATE) or not ours or now.st_uid != uploader:
            _clear(path)
            continue
        kept = path
        for entry in os.listdir(path):
            upload = os.lstat(os.path.join(path, entry))
            if stat.S_ISREG(upload.st_mode) and upload.st_size <= wanted.get(entry, -1):
                have[entry] = upload.st_size
            else:
                _clear(os.path.join(path, entry))
    return kept, have


def _clear(path: str) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def discard(staging: str) -> None:
    """Remove the upload directory."""
    shutil.rmtree(staging, ignore_errors=True)


def place(
    push: Push, staging: str, role: str, record: Record, book: Book, save: Save = _later
) -> None:
    """Verify one upload and put it in its place. Raises AirlockError and OSError.

    A wrong digest or a full disk leaves the place as it was. ``save`` keeps the record.
    """
    parent = os.path.dirname(push.path)
    with _room(push, parent), _private(parent) as private:
        _place(push, staging, private, role, record, book, save)


def _place(
    push: Push, staging: str, private: str, role: str, record: Record, book: Book, save: Save
) -> None:
    fresh = os.path.join(private, os.path.basename(push.path))
    upload = os.path.join(staging, push.content.object_name)
    with open_plain(upload) as source, _witness(push) as witness:
        copy_verified(
            source,
            fresh,
            push.content,
            subject=push.path,
            origin="the controller's cache",
            mode=push.mode,
            fix=f"remove {push.content.object_name} from the cache and run again; nothing was placed",
            witness=witness,
        )
        blake3 = witness.hexdigest() if witness else ""
    if push.wheel:
        receipt = wheels.unpack(fresh, push.path, push.content.sha256)
        record.claim(role, "trees", push.path, sha256=push.content.sha256, receipt=receipt)
        return
    _keep(fresh, push, blake3, role, record, book, save)


def adopt(push: Push, role: str, record: Record, book: Book, save: Save = _later) -> None:
    """Put in its place what the host has elsewhere. Raises AirlockError and OSError.

    Nobody looked into it before, so the format of a model file is checked here. The place stays as it
    was when the content is not the approved one.
    """
    parent, name = os.path.split(push.path)
    _make_directory(parent, role, record)
    for left in glob.glob(f"{glob.escape(parent)}/{_PRIVATE}*"):
        _clear(left)
    with _private(parent) as private, _room(push, parent):
        fresh = os.path.join(private, name)
        with _witness(push) as witness:
            try:
                copy_on_host(push.found_at, fresh, push.content, push.mode, push.path, witness)
            except OSError as exc:
                if exc.errno in _FULL:
                    raise
                raise AirlockError.refuse(
                    f"the host's own file cannot be taken ({exc.strerror})",
                    where=push.found_at,
                    fix="let Ollama pull the model there, or take on_host out of models.yml and pull it anew",
                ) from exc
            blake3 = witness.hexdigest() if witness else ""
        if push.model_file:
            formats.check(fresh, push.model_file, push.found_at)
        _keep(fresh, push, blake3, role, record, book, save)


def _keep(
    fresh: str, push: Push, blake3: str, role: str, record: Record, book: Book, save: Save
) -> None:
    # Before it has its name: what a power cut leaves there is ours, to seal or to remove.
    record.claim(role, "files", push.path, sha256=push.content.sha256)
    save()
    sealing.unseal(push.path)
    os.replace(fresh, push.path)
    fsync_directory(os.path.dirname(push.path))
    if push.manifest:
        custody.receive(push.subject, blake3, book, Moment.now())


@contextlib.contextmanager
def _room(push: Push, parent: str) -> Iterator[None]:
    """Say in one sentence that the disk of ``parent`` is full."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _FULL:
            raise
        raise AirlockError.refuse(
            "the disk is full",
            expected=f"{human(push.content.size)} for {push.content.object_name}",
            where=parent,
            fix="make room, then run again; nothing was placed",
        ) from exc


@contextlib.contextmanager
def _private(parent: str) -> Iterator[str]:
    """Give a directory that only this user may enter, on the file system of ``parent``."""
    path = tempfile.mkdtemp(prefix=_PRIVATE, dir=parent)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def _witness(push: Push) -> Iterator[digests.Blake3 | None]:
    """Give the second digest that a file of a model is hashed with on its way, where the host has it."""
    with digests.blake3() if push.manifest else contextlib.nullcontext() as witness:
        yield witness


def surplus(pushes: Iterable[Push], directory: str, role: str, record: Record) -> list[str]:
    """Return the artifacts of ``role`` in ``directory`` that are no longer named."""
    wanted = {push.path for push in pushes}
    return sorted(
        path
        for path in record.claims(role, "files")
        if os.path.dirname(path) == directory and path not in wanted
    )


def remove(path: str, role: str, record: Record) -> None:
    """Remove one artifact file and its claim. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        sealing.remove(path)
    record.release(role, "files", path)


def _make_directory(path: str, role: str, record: Record) -> None:
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path), role, record)
        os.mkdir(path)
        os.chmod(path, 0o755)
        record.claim(role, "directories", path, purge=False)


def _flaw(push: Push, role: str, record: Record, book: Book) -> str | None:
    if push.wheel:
        claim = record.claims(role, "trees").get(push.path, {})
        return wheels.flaw(push.path, push.content.sha256, claim.get("receipt"))
    finding = custody.prove(push.subject, book, Moment.now(), issue=False)
    if finding.state == custody.MISSING:
        return "it is not there"
    if finding.state != custody.OK:
        return f"expected {finding.expected}, found {finding.found}"
    return None
