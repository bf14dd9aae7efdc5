# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host's package manager wants to fetch from: its apt sources, read and judged by nobody.

The host may be hostile: what comes out of here is a wish, and `windows.plan` decides about it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import AirlockError
from .files import read_limited

PORTS = {"http": 80, "https": 443}

_MAX_BYTES = 1024 * 1024
_MAX_FILES = 256
# RFC 1123, 2.1: letters, digits and hyphens; nothing that could mean more in a hosts file.
_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
# sources.list(5), ONE-LINE-STYLE FORMAT: type, options in brackets, URI.
_ONE_LINE = re.compile(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(\S+)\s")
_OFF = ("no", "false", "without", "off", "disable")


@dataclass(frozen=True, order=True)
class Source:
    """A host name or literal address, in lower case, a TCP port (1 to 65535) and the file that names it."""

    name: str
    port: int
    where: str


def read(root: str = "/") -> list[Source]:
    """Return what the enabled apt sources below ``root`` name, sorted, each name and port once.

    Sources that are not ``http`` or ``https`` need no network of ours and are left out. Raises
    AirlockError for a file that is too large, too many files, and a name that is none.
    """
    found: dict[tuple[str, int], Source] = {}
    for path, uris in _files(os.path.join(root, "etc/apt")):
        for uri in uris:
            source = _source(uri, path)
            if source is not None:
                found.setdefault((source.name, source.port), source)
    return sorted(found.values())


def one_line(text: str) -> list[str]:
    """Return the URIs of a file in one-line style (sources.list(5))."""
    lines = (line.split("#", 1)[0] + "\n" for line in text.splitlines())
    return [match.group(1) for match in map(_ONE_LINE.match, lines) if match]


def deb822(text: str) -> list[str]:
    """Return the URIs of the enabled stanzas of a file in deb822 style (sources.list(5), deb822(5))."""
    uris: list[str] = []
    for stanza in re.split(r"\n[ \t]*\n", re.sub(r"(?m)^#.*\n?", "", text.replace("\r\n", "\n"))):
        # A line that begins with white space goes on with the field before it.
        fields = dict(
            line.split(":", 1)
            for line in re.sub(r"\n[ \t]+", " ", stanza).splitlines()
            if ":" in line
        )
        known = {name.strip().lower(): value.strip() for name, value in fields.items()}
        if known.get("enabled", "yes").lower() not in _OFF:
            uris += known.get("uris", "").split()
    return uris


def is_name(text: str) -> bool:
    """Is ``text`` a host name in lower case or a literal address?"""
    return is_address(text) or _NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Is ``text`` a literal IPv4 or IPv6 address without a zone?"""
    try:
        return "%" not in str(ipaddress.ip_address(text))
    except ValueError:
        return False


def _files(directory: str) -> Iterator[tuple[str, list[str]]]:
    parts = os.path.join(directory, "sources.list.d")
    names = sorted(os.listdir(parts)) if os.path.isdir(parts) else []
    paths = [
        os.path.join(directory, "sources.list"),
        *(os.path.join(parts, name) for name in names),
    ]
    if len(paths) > _MAX_FILES:
        raise AirlockError.refuse(
            "there are too many package sources",
            expected=f"at most {_MAX_FILES} files",
            where=parts,
        )
    for path in paths:
        parser = {".list": one_line, ".sources": deb822}.get(os.path.splitext(path)[1])
        if parser and os.path.isfile(path):
            yield path, parser(read_limited(path, _MAX_BYTES).decode("utf-8", "replace"))


def _source(uri: str, path: str) -> Source | None:
    try:
        parts = urlsplit(uri)
        if parts.scheme not in PORTS:
            return None
        name, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    except ValueError:
        name, port = "", 0
    if not is_name(name):
        raise AirlockError.refuse(
            "the host of this package source is no name",
            found=ascii(name or uri.rpartition("@")[2])[:100],
            where=path,
            fix="correct or disable the source on the host",
        )
    return Source(name, port, path)
