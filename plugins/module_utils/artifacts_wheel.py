# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking a wheel without pip, and proving later that nothing in the tree changed.

A wheel is a zip archive (PyPA, "Binary distribution format"); one without dependencies and scripts is
installed by unpacking it. The receipt ``.airlock-artifact.json`` in the tree is canonical JSON::

    {"version": 1, "sha256": "<of the wheel>", "files": {"pkg/mod.py": {"sha256": "…", "size": 12}}}
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import zipfile
import zlib

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import fsync_directory, read_limited, sha256_bytes, sha256_file, write_atomic

RECEIPT = ".airlock-artifact.json"
MAX_FILES = 20_000
MAX_TOTAL = 16 * 1024**3
_CHUNK = 1024 * 1024
_RECEIPT_LIMIT = 16 * 1024 * 1024


def unpack(wheel: str, destination: str, sha256: str) -> str:
    """Unpack the verified ``wheel`` into the directory ``destination``, replacing it whole.

    Returns the SHA-256 of the receipt. Raises AirlockError for an archive that is not plain files
    under relative names within the limits, and OSError; ``destination`` is as before in that case.
    """
    parent, name = os.path.split(destination)
    fresh = os.path.join(parent, f".{name}.{secrets.token_hex(6)}")
    os.mkdir(fresh, 0o755)
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _checked(archive, wheel)
            files = {member.filename: _extract(archive, member, fresh) for member in members}
        receipt = canonical.dumps({"version": 1, "sha256": sha256, "files": files})
        write_atomic(os.path.join(fresh, RECEIPT), receipt, mode=0o444)
        _seal(fresh)
        _swap(fresh, destination)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise AirlockError.refuse(f"the archive is damaged ({exc})", where=wheel) from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return sha256_bytes(receipt)


def flaw(destination: str, sha256: str, receipt_sha256: str | None) -> str | None:
    """Return why the tree at ``destination`` is not the unpacked wheel ``sha256``, or None when it is.

    Every file is hashed. ``receipt_sha256`` is the digest that ``unpack`` returned.
    """
    if not os.path.isdir(destination) or os.path.islink(destination):
        return "it is not there"
    path = os.path.join(destination, RECEIPT)
    try:
        data = read_limited(path, _RECEIPT_LIMIT)
        receipt = canonical.loads(data, where=path)
        wanted = {**receipt["files"], RECEIPT: {"sha256": receipt_sha256, "size": len(data)}}
        if receipt["sha256"] != sha256:
            return f"it was unpacked from another wheel, sha256 {receipt['sha256']}"
    except (AirlockError, OSError, KeyError, TypeError):
        return "its receipt is missing or damaged"
    return _difference(destination, wanted)


def _difference(destination: str, wanted: dict[str, dict[str, object]]) -> str | None:
    seen = set()
    for directory, subdirectories, names in os.walk(destination):
        for name in subdirectories + names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, destination)
            now = os.lstat(path)
            if now.st_uid != os.geteuid() or (
                now.st_mode & 0o022 and not stat.S_ISLNK(now.st_mode)
            ):
                return f"{relative} has another owner or may be written by others"
            if name in subdirectories and stat.S_ISDIR(now.st_mode):
                continue
            if relative not in wanted or not stat.S_ISREG(now.st_mode):
                return f"{relative} does not belong there"
            facts = wanted[relative]
            if now.st_size != facts["size"] or sha256_file(path) != facts["sha256"]:
                return f"{relative} was changed"
            seen.add(relative)
    missing = sorted(set(wanted) - seen)
    return f"{missing[0]} is missing" if missing else None


def _checked(archive: zipfile.ZipFile, where: str) -> list[zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    total = sum(member.file_size for member in members)
    if len(members) > MAX_FILES or total > MAX_TOTAL:
        raise AirlockError.refuse(
            "the archive is too large to unpack",
            expected=f"at most {MAX_FILES} files and {MAX_TOTAL} bytes",
            found=f"{len(members)} files and {total} bytes",
            where=where,
        )
    folded: set[str] = {RECEIPT}
    for member in members:
        # orig_filename: zipfile itself cuts the name at a NUL and turns the separator of the system.
        schema.relative_path(member.orig_filename, f"{where}: member")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 0x1 or "\\" in member.orig_filename:
            raise AirlockError.refuse(
                "the archive holds something else than plain files",
                found=member.filename,
                where=where,
            )
        if member.filename.casefold() in folded:
            raise AirlockError.refuse(
                "the archive holds a name twice", found=member.filename, where=where
            )
        folded.add(member.filename.casefold())
    return members


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, root: str) -> dict[str, object]:
    path = os.path.join(root, member.filename)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    hasher = hashlib.sha256()
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with archive.open(member) as source, open(os.open(path, flags, 0o600), "wb") as target:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > member.file_size:
                raise AirlockError.refuse(
                    "a file of the archive is larger than it declares",
                    found=member.filename,
                    where=archive.filename or "",
                )
            hasher.update(chunk)
            target.write(chunk)
        os.fchmod(target.fileno(), 0o444)
        target.flush()
        os.fsync(target.fileno())
    return {"sha256": hasher.hexdigest(), "size": size}


def _seal(root: str) -> None:
    """Give every directory its mode, whatever the umask, and make it survive a power cut."""
    for directory, _subdirectories, _names in os.walk(root):
        os.chmod(directory, 0o755)
        fsync_directory(directory)


def _swap(fresh: str, destination: str) -> None:
    old = f"{fresh}.old"
    if os.path.lexists(destination):
        os.rename(destination, old)
    os.rename(fresh, destination)
    fsync_directory(os.path.dirname(destination))
    shutil.rmtree(old, ignore_errors=True)
