# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving half of a push: what a host has, and how an upload becomes an artifact.

The connection's ordinary user uploads into a directory of its own; root copies from there while hashing,
into files that nobody else ever had open, so that what was hashed is what is kept.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from . import artifacts_wheel as wheels
from . import formats
from .artifacts import Content, human
from .artifacts_adopt import adopt as copy_on_host
from .artifacts_adopt import open_plain
from .artifacts_copy import copy_verified
from .errors import AirlockError
from .files import fsync_directory, sha256_file
from .ownership import Record

_STAGING = ".incoming-"


@dataclass(frozen=True)
class Push:
    """One artifact and its place: a file with ``mode``, or a directory when ``wheel`` is true.

    ``proven`` says that the caller has verified the place already in this play. ``found_at`` is a file of
    the host that has the content and is copied instead of an upload, ``model_file`` what its model calls it.
    """

    content: Content
    path: str
    mode: int = 0o444
    wheel: bool = False
    proven: bool = False
    found_at: str = ""
    model_file: str = ""


def lacking(pushes: Iterable[Push], role: str, record: Record) -> list[tuple[Push, str]]:
    """Return the artifacts that the host cannot prove it has, each with the reason."""
    found = []
    for push in pushes:
        reason = None if push.proven else _flaw(push, role, record)
        if reason is not None:
            found.append((push, reason))
    return found


def stage(missing: list[Push], uploader: int, role: str, record: Record) -> str:
    """Make the upload directory (0700, of user id ``uploader``) beside the first destination.

    Missing parents are made and claimed; what an interrupted push left there is removed.
    Raises AirlockError when the file system cannot hold the uploads and their copies.
    """
    for push in missing:
        _make_directory(os.path.dirname(push.path), role, record)
    parent = os.path.dirname(missing[0].path)
    for name in os.listdir(parent):
        if name.startswith(_STAGING):
            shutil.rmtree(os.path.join(parent, name))
    needed = sum(push.content.size for push in missing) + max(push.content.size for push in missing)
    room = os.statvfs(parent)
    free = room.f_bavail * room.f_frsize
    if needed > free:
        raise AirlockError.refuse(
            "the disk is too full for what would be pushed",
            expected=f"{human(needed)} free",
            found=human(free),
            where=parent,
            fix="make room, then run again; nothing was sent",
        )
    path = os.path.join(parent, f"{_STAGING}{secrets.token_hex(6)}")
    os.mkdir(path, 0o700)
    os.chown(path, uploader, -1)
    return path


def discard(staging: str) -> None:
    """Remove the upload directory."""
    shutil.rmtree(staging, ignore_errors=True)


def place(push: Push, staging: str, role: str, record: Record) -> None:
    """Verify one upload and put it in its place. Raises AirlockError and OSError.

    A wrong digest leaves the place as it was.
    """
    parent, name = os.path.split(push.path)
    fresh = os.path.join(parent, f".{name}.{secrets.token_hex(6)}")
    with open_plain(os.path.join(staging, push.content.object_name)) as upload:
        copy_verified(
            upload,
            fresh,
            push.content,
            subject=push.path,
            origin="the controller's cache",
            mode=push.mode,
            fix=f"remove {push.content.object_name} from the cache and run again; nothing was placed",
        )
    if push.wheel:
        try:
            receipt = wheels.unpack(fresh, push.path, push.content.sha256)
        finally:
            os.unlink(fresh)
        record.claim(role, "trees", push.path, sha256=push.content.sha256, receipt=receipt)
    else:
        _keep(fresh, push, role, record)


def adopt(push: Push, role: str, record: Record) -> None:
    """Put in its place what the host has elsewhere. Raises AirlockError and OSError.

    Nobody looked into it before, so the format of a model file is checked here. The place stays as it
    was when the content is not the approved one.
    """
    parent, name = os.path.split(push.path)
    _make_directory(parent, role, record)
    fresh = os.path.join(parent, f".{name}.{secrets.token_hex(6)}")
    try:
        copy_on_host(push.found_at, fresh, push.content, push.mode, push.path)
        if push.model_file:
            formats.check(fresh, push.model_file, push.found_at)
    except BaseException as exc:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        if not isinstance(exc, OSError):
            raise
        raise AirlockError.refuse(
            f"the host's own file cannot be taken ({exc.strerror})",
            where=push.found_at,
            fix="let Ollama pull the model there, or take on_host out of models.yml and pull it anew",
        ) from exc
    _keep(fresh, push, role, record)


def _keep(fresh: str, push: Push, role: str, record: Record) -> None:
    os.replace(fresh, push.path)
    fsync_directory(os.path.dirname(push.path))
    record.claim(role, "files", push.path, sha256=push.content.sha256)


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
    if os.path.lexists(path):
        os.unlink(path)
    record.release(role, "files", path)


def _make_directory(path: str, role: str, record: Record) -> None:
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path), role, record)
        os.mkdir(path)
        os.chmod(path, 0o755)
        record.claim(role, "directories", path, purge=False)


def _flaw(push: Push, role: str, record: Record) -> str | None:
    if push.wheel:
        claim = record.claims(role, "trees").get(push.path, {})
        return wheels.flaw(push.path, push.content.sha256, claim.get("receipt"))
    try:
        now = os.lstat(push.path)
    except FileNotFoundError:
        return "it is not there"
    if not stat.S_ISREG(now.st_mode) or now.st_nlink != 1:
        return "it is not a regular file of its own"
    if (stat.S_IMODE(now.st_mode), now.st_uid) != (push.mode, os.geteuid()):
        return f"its owner or mode differ from root and {push.mode:04o}"
    if (
        now.st_size != push.content.size
        or sha256_file(push.path, keep_cache=False) != push.content.sha256
    ):
        return "its content is another"
    return None
