# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a host: what it shall be, and how an observation differs from that.

A lock is a canonical JSON document::

    {"version": 1, "host": "inference", "lineage": "<uuid>", "serial": 1, "previous": null,
     "intent_digest": "<hex>", "resolved": {"services", "models", "artifacts"},
     "state_digest": "<hex>", "state": {...}, "coverage": {...}}

``lineage`` names the chain of locks of one host, ``serial`` counts them and ``previous`` is the
digest of the lock before. No document holds a time: two equal hosts have equal states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError

VERSION = 1
_LOCK_KEYS = frozenset(
    {
        "version",
        "host",
        "lineage",
        "serial",
        "previous",
        "intent_digest",
        "resolved",
        "state_digest",
        "state",
        "coverage",
    }
)

_NOUNS: Mapping[str, str] = {
    "artifacts": "runtime artifact",
    "files": "file",
    "groups": "group",
    "models": "model",
    "packages": "package",
    "platform": "platform",
    "ruleset": "ruleset",
    "services": "service",
    "sysctl": "kernel setting",
    "units": "unit",
    "users": "user",
}
_SHOWN_OF_NEW = ("version", "type", "mode", "owner", "enabled", "uid", "gid", "size")
_DIGEST_SHOWN = 12


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the lock has it; ``kind`` is added, removed or changed."""

    area: str
    item: str
    kind: str
    locked: Any
    observed: Any

    @property
    def sentence(self) -> str:
        """The difference in words, one line, safe to print."""
        thing = f"{_NOUNS.get(self.area, self.area)} {_printable(self.item)}"
        if self.kind == "added":
            return f"{thing}: not in the lock, now here{_summary(self.observed)}"
        if self.kind == "removed":
            return f"{thing}: in the lock{_summary(self.locked)}, now gone"
        return f"{thing}: {_changes(self.locked, self.observed)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the sentence, a value for JSON."""
        return {**asdict(self), "sentence": self.sentence}


def diff(locked: Mapping[str, Any], observed: Mapping[str, Any]) -> list[Difference]:
    """Compare two states, area by area, item by item; sorted, empty when they are equal."""
    differences = []
    for area in sorted({*locked, *observed}):
        ours, theirs = locked.get(area, {}), observed.get(area, {})
        for item in sorted({*ours, *theirs}):
            if item not in ours:
                differences.append(Difference(area, item, "added", None, theirs[item]))
            elif item not in theirs:
                differences.append(Difference(area, item, "removed", ours[item], None))
            elif ours[item] != theirs[item]:
                differences.append(Difference(area, item, "changed", ours[item], theirs[item]))
    return differences


def resolve(releases: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return what the intent resolved to: service to release, model to the sha256 of its
    manifest, artifact to its own.

    A release is a mapping with ``service``, ``release``, ``model``, ``manifest_sha256`` and
    ``artifact``, a mapping with ``name`` and ``sha256``.
    """
    resolved: dict[str, dict[str, str]] = {"services": {}, "models": {}, "artifacts": {}}
    for release in releases:
        resolved["services"][release["service"]] = release["release"]
        resolved["models"][release["model"]] = release["manifest_sha256"]
        artifact = release["artifact"]
        resolved["artifacts"][artifact["name"]] = artifact["sha256"]
    return resolved


def obstacles(
    lock: Mapping[str, Any], observed: Mapping[str, Any], resolved: Mapping[str, Any]
) -> list[Difference]:
    """Return what keeps an empty machine from becoming what the lock says.

    ``observed`` is the state of the machine, of which only the platform counts, and ``resolved``
    what the intent resolves to today.
    """
    return [
        *diff({"platform": lock["state"]["platform"]}, {"platform": observed["platform"]}),
        *diff(lock["resolved"], resolved),
    ]


def package_versions(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the version of every package in the lock."""
    return {name: facts["version"] for name, facts in lock["state"]["packages"].items()}


def create(
    host: str,
    observation: Mapping[str, Any],
    resolved: Mapping[str, Any],
    intent_digest: str,
    *,
    lineage: str,
    serial: int = 1,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a new lock from an observation; ``previous`` is the one that it replaces.

    ``lineage`` and ``serial`` are its place in the chain (lock_memory.next_place).
    """
    return {
        "version": VERSION,
        "host": host,
        "lineage": lineage,
        "serial": serial,
        "previous": digest(previous) if previous else None,
        "intent_digest": intent_digest,
        "resolved": resolved,
        "state_digest": digest(observation["state"]),
        "state": observation["state"],
        "coverage": observation["coverage"],
    }


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical bytes of a lock or a state, 64 hex digits."""
    return canonical.digest(document)


def parse(data: bytes, *, host: str, where: str) -> dict[str, Any]:
    """Read a lock and check that it is one, of this host and not edited by hand.

    Raises AirlockError.
    """
    lock = canonical.loads(data, where=where)
    if not isinstance(lock, dict) or lock.keys() != _LOCK_KEYS or lock["version"] != VERSION:
        raise AirlockError.refuse(
            "this is not a lock that this version can read",
            expected=f"a document of version {VERSION}",
            where=where,
            fix="restore the file from a backup",
        )
    if lock["host"] != host:
        raise AirlockError.refuse(
            "the lock belongs to another host",
            expected=host,
            found=_printable(str(lock["host"])),
            where=where,
            fix="restore the lock of this host from a backup",
        )
    schema.integer(lock["serial"], f"{where}: serial", 1, 2**31)
    schema.text(lock["lineage"], f"{where}: lineage", r"[a-z0-9-]{1,64}", "a UUID")
    found = digest(lock["state"])
    if found != lock["state_digest"]:
        raise AirlockError.refuse(
            "the state in the lock does not have the digest that the lock names",
            expected=str(lock["state_digest"]),
            found=found,
            where=where,
            fix="the file was edited or damaged: restore it from a backup",
        )
    return lock


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _summary(facts: Any) -> str:
    if not isinstance(facts, Mapping):
        return f" ({_value('', facts)})"
    shown = [
        f"{key} {_value(key, facts[key])}" for key in _SHOWN_OF_NEW if facts.get(key) is not None
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _changes(locked: Any, observed: Any) -> str:
    if not (isinstance(locked, Mapping) and isinstance(observed, Mapping)):
        return f"was {_value('', locked)}, is {_value('', observed)}"
    return "; ".join(
        f"{_label(key)} was {_value(key, locked.get(key))}, is {_value(key, observed.get(key))}"
        for key in sorted({*locked, *observed})
        if locked.get(key) != observed.get(key)
    )


def _label(key: str) -> str:
    return "content" if key == "sha256" else key


def _value(key: str, value: Any) -> str:
    if value is None:
        return "not recorded"
    if key == "sha256" or (isinstance(value, str) and len(value) == 64):
        return f"{value[:_DIGEST_SHOWN]}…"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_printable(str(item)) for item in value) or "nothing"
    return _printable(str(value))
