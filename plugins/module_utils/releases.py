# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: what the services of a host resolve to, each an immutable thing that can run.

A service names a model and how to run it; with the pinned artifact of its backend that makes a
release ``<service>-<digest8>``. Equal input gives equal output on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import accounts, canonical, manifests, weights
from . import artifacts_schema as schema
from .artifacts import parse
from .artifacts_wheel import RECEIPT
from .errors import AirlockError

UNIT_PREFIX = "airlock-runtime@"
_FALLBACK_PREFIX = "airlock-fallback@"
RUNTIMES = "/opt/airlock/runtimes"
_BACKENDS = ("llama_cpp",)
_MODES = ("chat", "embedding")
_SERVICE = r"[a-z][a-z0-9-]{0,30}"
_VERSION = 1

# Hashing at 100 MB/s where no receipt holds, then reading the weights once more as slowly, on top of what
# starting takes.
_BYTES_PER_SECOND = 100_000_000
_BASE_SECONDS = 60


@dataclass(frozen=True)
class Flags:
    """How a backend runs a model.

    ``context`` is in tokens for each of ``parallel`` requests; ``threads`` 0 means every core.
    """

    mode: str = "chat"
    context: int = 2048
    parallel: int = 1
    threads: int = 0


@dataclass(frozen=True)
class LaunchConfig:
    """What the launcher of a release reads from ``/etc/airlock/releases/<release>.json``.

    ``runtime`` is the directory of the unpacked artifact, ``model`` (the first file of its weights) and
    ``socket`` are paths as the unit sees them.
    """

    release: str
    service: str
    backend: str
    runtime: str
    model: str
    socket: str
    flags: Flags

    def document(self) -> dict[str, Any]:
        """Return the configuration as a value for canonical JSON."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def parse(cls, data: bytes, where: str) -> LaunchConfig:
        """Read what ``document`` gave, and nothing else. Raises AirlockError."""
        names = ("release", "service", "backend", "runtime", "model", "socket", "flags")
        entry = schema.fields(
            canonical.loads(data, where=where), where, required=("version", *names)
        )

        def path(key: str) -> str:
            return schema.text(entry[key], f"{where}: {key}", r"/[^\0\n]+", "/an/absolute/path")

        schema.integer(entry["version"], f"{where}: version", _VERSION, _VERSION)
        return cls(
            schema.text(
                entry["release"], f"{where}: release", _SERVICE + "-[0-9a-f]{8}", "chat-1a2b3c4d"
            ),
            schema.text(entry["service"], f"{where}: service", _SERVICE, "chat"),
            schema.choice(entry["backend"], f"{where}: backend", _BACKENDS),
            path("runtime"),
            path("model"),
            path("socket"),
            _flags(entry["flags"], f"{where}: flags"),
        )


def resolve(
    services: Mapping[str, Any],
    models: Mapping[str, Any],
    artifacts: Mapping[str, Any],
    placed: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Return the releases of ``services``, sorted by name.

    ``services`` and ``models`` as the owner wrote them, ``artifacts`` by backend, each with at
    least ``sha256``, ``size`` and ``source``; ``placed`` are the indices of the users of releases
    that the slots of the host point to. Each release is a dict::

        {"service", "release", "digest", "mode", "model", "manifest": {...}, "manifest_sha256",
         "weights": [{"stored", "seen"}, ...] (paths in the store and in the unit, in order),
         "user", "uid_index", "backend", "artifact": {"name", "sha256", "path"},
         "config": {...} (LaunchConfig), "start_timeout": seconds,
         "fetch", "push" and "switch": {...} for the modules artifact_fetch, artifact_push and
         release_switch}

    Raises AirlockError for an entry that cannot be used and for more releases than users.
    """
    manifests.wanted(models, services)  # a missing model is refused by name
    found = [
        _release(service, entry, models, artifacts) for service, entry in sorted(services.items())
    ]
    users = assign_users((release["release"] for release in found), placed or {})
    return [
        {
            **release,
            "uid_index": users[release["release"]],
            "user": accounts.of_release(users[release["release"]]),
        }
        for release in found
    ]


def assign_users(releases: Iterable[str], placed: Mapping[str, int]) -> dict[str, int]:
    """Return the index of the user of each release.

    A release of ``placed`` keeps its user, and nobody else gets it, for both may run at the same
    time. Another one hashes to a place in the pool and takes the next free one (linear probing,
    in sorted order), so that it mostly keeps its user when others come and go.
    Raises AirlockError when there are more releases than users.
    """
    names = sorted(set(releases))
    if len({*names, *placed}) > accounts.RELEASES:
        raise AirlockError.refuse(
            "there are more releases than users for them",
            expected=f"at most {accounts.RELEASES}, those of every slot together",
            found=str(len({*names, *placed})),
            where="airlock_services",
        )
    taken = {index: name for name, index in placed.items()}
    for name in names:
        if name in placed:
            continue
        index = (
            int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % accounts.RELEASES
        )
        while index in taken:
            index = (index + 1) % accounts.RELEASES
        taken[index] = name
    return {name: index for index, name in taken.items() if name in names}


def unit_of(release: str) -> str:
    """Return the name of the unit that runs ``release``."""
    return f"{UNIT_PREFIX}{release}.service"


def fallback_of(release: str) -> str:
    """Return the name of the unit that runs when ``release`` has failed."""
    return f"{_FALLBACK_PREFIX}{release}.service"


def files_of(release: str) -> list[str]:
    """Return the files on the host that only ``release`` has."""
    return [
        f"/etc/airlock/releases/{release}.json",
        f"/etc/airlock/releases/{release}.manifest.json",
        f"/etc/systemd/system/{unit_of(release)}.d/release.conf",
    ]


def start_timeout(size: int) -> int:
    """Return the seconds that a release may take to start with ``size`` bytes of model.

    The load gate hashes every byte within this time, too (systemd.service(5), TimeoutStartSec=).
    """
    return _BASE_SECONDS + 2 * -(-size // _BYTES_PER_SECOND)


def _release(
    service: str, value: Any, models: Mapping[str, Any], artifacts: Mapping[str, Any]
) -> dict[str, Any]:
    where = f"airlock_services.{service}"
    schema.text(service, where, _SERVICE, "chat")
    entry = schema.fields(
        value,
        where,
        required=("model",),
        optional=("backend", "mode", "context", "parallel", "threads"),
    )
    backend = schema.choice(entry.pop("backend", _BACKENDS[0]), f"{where}.backend", _BACKENDS)
    model = str(entry.pop("model"))
    flags = _flags(entry, where)
    manifest = manifests.manifest(models, model)
    files = weights.of(manifest, where)
    views = [f"{weights.VIEW}/{name}" for name in weights.seen(len(files))]
    artifact = _artifact(backend, artifacts[backend])
    digest = artifact["sha256"]
    identity = canonical.digest(
        {"manifest": manifest.digest, "artifact": digest, "flags": asdict(flags)}
    )
    release = f"{service}-{identity[:8]}"
    runtime = f"{RUNTIMES}/{backend}-{digest[:8]}"
    socket = f"/run/airlock/runtime/{release}/http.sock"
    return {
        "service": service,
        "release": release,
        "digest": identity,
        "mode": flags.mode,
        "model": model,
        "manifest": manifest.document(),
        "manifest_sha256": manifest.digest,
        "weights": [
            {"stored": files[index].stored, "seen": view} for index, view in enumerate(views)
        ],
        "backend": backend,
        "artifact": {"name": backend, "sha256": digest, "path": runtime},
        "fetch": artifact,
        "push": {
            "sha256": digest,
            "size": artifact["size"],
            "dest": runtime,
            "unpack": "wheel",
        },
        "switch": {
            "service": service,
            "release": release,
            "mode": flags.mode,
            "start_timeout": start_timeout(manifest.size),
            "inputs": [
                *files_of(release),
                *(file.stored for file in files),
                f"{runtime}/{RECEIPT}",
            ],
        },
        "config": LaunchConfig(
            release, service, backend, runtime, views[0], socket, flags
        ).document(),
        "start_timeout": start_timeout(manifest.size),
    }


def _artifact(backend: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be fetched for ``backend``, after checking that it can be."""
    artifact = {
        "name": f"runtime {backend}",
        **{key: entry.get(key) for key in ("sha256", "size", "source")},
    }
    parse(artifact, f"runtime artifact {backend}")
    return artifact


def _flags(value: Any, where: str) -> Flags:
    entry = schema.fields(
        value, where, required=(), optional=("mode", "context", "parallel", "threads")
    )
    default = Flags()
    return Flags(
        schema.choice(entry.get("mode", default.mode), f"{where}.mode", _MODES),
        schema.integer(entry.get("context", default.context), f"{where}.context", 1, 1_048_576),
        schema.integer(entry.get("parallel", default.parallel), f"{where}.parallel", 1, 64),
        schema.integer(entry.get("threads", default.threads), f"{where}.threads", 0, 1024),
    )
