# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials of a house, as CycloneDX 1.6 (ECMA-424): models, runtimes, packages, and what uses what.

Made from locks and the catalog they resolve; nothing is asked and no time is in it, so that equal locks
give equal bytes. References inside it: ``host:<name>``, ``service:<name>``, ``model:<name>``,
``runtime:<name>``, and package URLs (github.com/package-url/purl-spec).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from . import canonical
from .artifacts import Artifact, Source
from .manifests import Manifest

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_NAMESPACE = uuid.UUID("6f0a5a39-5b6c-5b0f-9d0f-6f6d6c62616f")
# Licences that the schema takes by identifier (spdx.org/licenses) and that models and runtimes have.
_SPDX = frozenset(
    {
        "AGPL-3.0-only",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "ISC",
        "MIT",
        "MPL-2.0",
    }
)
_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Model:
    """A model with where its files are from, by path, and who signed it (model_signatures), None if nobody."""

    manifest: Manifest
    sources: Mapping[str, Source]
    signature: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Runtime:
    """The program of a backend."""

    artifact: Artifact
    version: str
    licence: str


def document(
    locks: Mapping[str, Mapping[str, Any]],
    releases: Iterable[Mapping[str, Any]],
    models: Iterable[Model],
    runtimes: Mapping[str, Runtime],
) -> dict[str, Any]:
    """Return the bill of materials, a value for JSON.

    ``locks`` are those of the hosts by name (see state), ``releases`` what their services resolve to
    (``service``, ``release``, ``mode``, ``model``, ``backend``), ``runtimes`` by name of the backend.
    """
    releases = sorted(releases, key=lambda release: str(release["service"]))
    packages = {
        component["bom-ref"]: component for lock in locks.values() for component in _packages(lock)
    }
    components = [
        *(_model(model) for model in sorted(models, key=lambda model: model.manifest.name)),
        *(_runtime(name, runtime) for name, runtime in sorted(runtimes.items())),
        *(_host(name, lock) for name, lock in sorted(locks.items())),
        *(packages[reference] for reference in sorted(packages)),
    ]
    services = [
        {
            "bom-ref": f"service:{release['service']}",
            "name": release["service"],
            "authenticated": True,
            "properties": _properties({"release": release["release"], "mode": release["mode"]}),
        }
        for release in releases
    ]
    uses: dict[str, list[str]] = {
        f"service:{release['service']}": [
            f"model:{release['model']}",
            f"runtime:{release['backend']}",
        ]
        for release in releases
    }
    for host, lock in locks.items():
        parts = [f"service:{service}" for service in lock["resolved"]["services"]]
        uses[f"host:{host}"] = parts + [component["bom-ref"] for component in _packages(lock)]
    body = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"bom-ref": "house", "type": "platform", "name": "homelab.airlock"},
        },
        "components": components,
        "services": services,
        "dependencies": [
            {"ref": "house", "dependsOn": sorted(f"host:{host}" for host in locks)},
            *({"ref": ref, "dependsOn": sorted(parts)} for ref, parts in sorted(uses.items())),
        ],
    }
    return {**body, "serialNumber": uuid.uuid5(_NAMESPACE, canonical.digest(body)).urn}


def _model(model: Model) -> dict[str, Any]:
    manifest = model.manifest
    architectures = {
        file.checked.architecture for file in manifest.files if file.checked is not None
    } - {""}
    component: dict[str, Any] = {
        "bom-ref": f"model:{manifest.name}",
        "type": "machine-learning-model",
        "name": manifest.name,
        "version": manifest.revision,
        "licenses": _licence(manifest.licence),
        "components": [
            {
                "bom-ref": f"model:{manifest.name}/{file.path}",
                "type": "file",
                "name": file.path,
                "hashes": _hashes(file.content.sha256),
                "externalReferences": [_origin(model.sources[file.path])],
                "properties": _properties(
                    {
                        "size": file.content.size,
                        **(file.checked.document() if file.checked else {}),
                    }
                ),
            }
            for file in manifest.files
        ],
        "pedigree": {
            "notes": "; ".join(
                f"{file.path}: fetched from {file.source}, unchanged" for file in manifest.files
            )
        },
        "properties": _properties(
            {
                "manifest_sha256": manifest.digest,
                **{
                    f"signature:{key}": value
                    for key, value in (model.signature or {"type": "none"}).items()
                    if key != "model" and value
                },
            }
        ),
    }
    if len(manifest.files) == 1:
        component["hashes"] = _hashes(manifest.files[0].content.sha256)
    if len(architectures) == 1:
        component["modelCard"] = {"modelParameters": {"modelArchitecture": architectures.pop()}}
    return component


def _runtime(name: str, runtime: Runtime) -> dict[str, Any]:
    source = runtime.artifact.source
    component = {
        "bom-ref": f"runtime:{name}",
        "type": "application",
        "name": source.location if source.type == "pypi" else name,
        "version": runtime.version,
        "licenses": _licence(runtime.licence),
        "hashes": _hashes(runtime.artifact.content.sha256),
        "externalReferences": [_origin(source)],
        "properties": _properties({"backend": name}),
    }
    if source.type == "pypi":
        component["purl"] = f"pkg:pypi/{_pypi_name(source)}@{quote(source.version, safe='.')}"
    return component


def _host(name: str, lock: Mapping[str, Any]) -> dict[str, Any]:
    platform = lock["state"]["platform"]
    return {
        "bom-ref": f"host:{name}",
        "type": "operating-system",
        "name": platform["distribution"],
        "version": platform["release"],
        "description": f"the inference host {name}",
        "properties": _properties(
            {
                "arch": platform["arch"],
                "lock:lineage": lock["lineage"],
                "lock:serial": lock["serial"],
                "lock:state_digest": lock["state_digest"],
            }
        ),
    }


def _packages(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    platform = lock["state"]["platform"]
    vendor = platform["distribution"]
    arch = _PLATFORMS.get(platform["arch"], platform["arch"])
    found = []
    for name, facts in sorted(lock["state"]["packages"].items()):
        own_name, _colon, own_arch = name.partition(":")
        purl = (
            f"pkg:deb/{quote(vendor, safe='')}/{quote(own_name, safe='.-')}"
            f"@{quote(facts['version'], safe='.-~')}?arch={quote(own_arch or arch, safe='')}"
            f"&distro={quote(vendor, safe='')}-{quote(platform['release'], safe='.')}"
        )
        found.append(
            {
                "bom-ref": purl,
                "type": "library",
                "name": own_name,
                "version": facts["version"],
                "purl": purl,
            }
        )
    return found


def _origin(source: Source) -> dict[str, Any]:
    url = {
        "pypi": f"https://pypi.org/project/{_pypi_name(source)}/{quote(source.version, safe='.')}/",
        "https": source.location,
        "file": f"file://{quote(source.location)}",
    }[source.type]
    origin: dict[str, Any] = {"type": "distribution", "url": url, "comment": str(source)}
    if source.sha256:
        origin["hashes"] = _hashes(source.sha256)
    return origin


def _pypi_name(source: Source) -> str:
    return source.location.lower().replace("_", "-")


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _licence(text: str) -> list[dict[str, Any]]:
    key = "id" if text in _SPDX else "name"
    return [{"license": {key: text, "acknowledgement": "declared"}}]


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": f"homelab.airlock:{name}", "value": str(value)}
        for name, value in sorted(values.items())
    ]
