# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that lie on a machine already: stores of Ollama and caches of the Hugging Face hub."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Any

from . import canonical
from .errors import AirlockError
from .files import read_limited
from .state_files import text

OLLAMA_STORES = (
    "/usr/share/ollama/.ollama/models",
    "/var/lib/ollama/models",
    "/var/lib/ollama/.ollama/models",
    "/root/.ollama/models",
    "/home/*/.ollama/models",
    "/var/lib/docker/volumes/*/_data/models",
    "/var/lib/containers/storage/volumes/*/_data/models",
    "/home/*/.local/share/containers/storage/volumes/*/_data/models",
)
"""Where the installer, packages, people and containers keep them (glob patterns)."""

HUB_CACHES = (
    "/root/.cache/huggingface/hub",
    "/home/*/.cache/huggingface/hub",
    "/var/lib/docker/volumes/*/_data/hub",
)
"""Where huggingface_hub keeps its downloads (glob patterns)."""

_UNITS = "/etc/systemd/system/ollama.service*"
_ENVIRONMENT = re.compile(r"OLLAMA_MODELS=([^\"'\s]+)")
_MAX_MANIFEST = 1024 * 1024
_MAX_MANIFESTS = 500


def ollama_stores(root: str = "/") -> list[dict[str, Any]]:
    """Return each store: ``path`` and ``models``, each with ``name``, ``size`` (bytes) and ``missing``
    (layers that the manifest names and the store lacks).

    Layout: manifests/<host>/<namespace>/<name>/<tag>, blobs/sha256-<hex>.
    """
    base = root.rstrip("/")
    patterns = {*OLLAMA_STORES, *_configured_stores(base)}
    paths = {path for pattern in patterns for path in glob.glob(base + pattern)}
    return [
        {"path": text(path[len(base) :]), "models": _ollama_models(Path(path))}
        for path in sorted(paths)
        if (Path(path) / "manifests").is_dir()
    ]


def hub_caches(root: str = "/") -> list[dict[str, Any]]:
    """Return each cache: ``path`` and ``models``, each with ``name`` and ``size`` (bytes)."""
    base = root.rstrip("/")
    caches = []
    for path in sorted({path for pattern in HUB_CACHES for path in glob.glob(base + pattern)}):
        models = [
            {
                "name": text(entry.name)[len("models--") :].replace("--", "/"),
                "size": sum(blob.lstat().st_size for blob in (entry / "blobs").glob("*")),
            }
            for entry in sorted(Path(path).glob("models--*"))
        ]
        if models:
            caches.append({"path": text(path[len(base) :]), "models": models})
    return caches


def _configured_stores(base: str) -> list[str]:
    units = glob.glob(base + _UNITS) + glob.glob(f"{base}{_UNITS}/*.conf")
    return [
        found[1].rstrip("/")
        for unit in units
        if Path(unit).is_file()
        for found in _ENVIRONMENT.finditer(Path(unit).read_text("utf-8", "replace"))
    ]


def _ollama_models(store: Path) -> list[dict[str, Any]]:
    manifests = sorted(path for path in (store / "manifests").glob("*/*/*/*") if path.is_file())
    return [_ollama_model(store, path) for path in manifests[:_MAX_MANIFESTS]]


def _ollama_model(store: Path, manifest: Path) -> dict[str, Any]:
    host, namespace, name, tag = manifest.relative_to(store / "manifests").parts
    origin = (
        "" if (host, namespace) == ("registry.ollama.ai", "library") else f"{host}/{namespace}/"
    )
    layers = _layers(manifest)
    missing = [
        digest for digest in layers if not (store / "blobs" / digest.replace(":", "-")).exists()
    ]
    return {
        "name": text(f"{origin}{name}:{tag}"),
        "size": sum(layers.values()),
        "missing": len(missing),
    }


def _layers(manifest: Path) -> dict[str, int]:
    """Return digest to size of what a manifest names; nothing when it is not one."""
    try:
        document = canonical.loads(read_limited(os.fspath(manifest), _MAX_MANIFEST))
        layers = [*document["layers"], document["config"]]
        return {str(layer["digest"]): int(layer["size"]) for layer in layers}
    except (AirlockError, OSError, LookupError, TypeError, ValueError):
        return {}
