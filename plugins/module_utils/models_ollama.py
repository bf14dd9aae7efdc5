# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models as Ollama keeps them: its registry over HTTPS, or a store on a disk.

Store: ``manifests/<host>/<namespace>/<name>/<tag>`` (Docker image manifest, schema 2, JSON) and
``blobs/sha256-<hex>``; registry: ``/v2/<namespace>/<name>/manifests/<tag>`` and ``…/blobs/sha256:<hex>``
(ollama/ollama, manifest/ and server/images.go). The revision is the SHA-256 of the manifest's bytes.
"""

from __future__ import annotations

import os
import re
from typing import Any

from .artifacts_fetch import Request, follow
from .errors import AirlockError
from .files import read_limited, sha256_bytes
from .models_intent import Intent
from .models_offer import (
    MAX_METADATA,
    Offer,
    OfferedFile,
    parse_document,
    plain_size,
    read_bytes,
    unexpected,
)

_ACCEPT = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
_KIND = "application/vnd.ollama.image."
_MODEL = "model"
_LEFT_OUT = ("license", "template", "system", "params", "messages")
"""Layers that steer Ollama itself; the runtimes here take the template that the weights carry."""
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_HOST = "registry.ollama.ai"


def offer(intent: Intent, request: Request) -> Offer:
    """Return what a registry or a store offers. Raises AirlockError, OSError and HTTPException."""
    source = intent.source
    repository, _colon, tag = source["model"].partition(":")
    space, _slash, name = repository.rpartition("/")
    place = f"{space or 'library'}/{name}"
    if "store" in source:
        where = os.path.join(source["store"], "manifests", _HOST, place, tag)
        data = _read_store(where)
    else:
        where = f"{source['registry']}/v2/{place}"
        data = read_bytes(follow(request, f"{where}/manifests/{tag}", _ACCEPT), where)
    found = f"sha256:{sha256_bytes(data)}"
    if found != intent.revision:
        raise AirlockError.refuse(
            f"the tag {tag} stands for another manifest now",
            expected=intent.revision,
            found=found,
            where=where,
            fix="find out what changed before you take the new digest into models.yml",
        )
    digest, size = _weights(parse_document(data, where), where)
    file = OfferedFile(f"{name}-{tag}.gguf", _blob(source, where, digest, size), digest, size)
    return Offer(f"Ollama {source['model']} ({where})", (file,))


def _read_store(path: str) -> bytes:
    try:
        return read_limited(path, MAX_METADATA)
    except OSError as exc:
        raise AirlockError.refuse(
            "the store has no such model", expected=path, found=str(exc.strerror)
        ) from exc


def _blob(source: Any, where: str, digest: str, size: int) -> dict[str, Any]:
    if "on_host" in source:
        return {
            "type": "host",
            "path": os.path.join(source["on_host"], "blobs", f"sha256-{digest}"),
        }
    if "registry" in source:
        return {"type": "https", "url": f"{where}/blobs/sha256:{digest}", "sha256": digest}
    path = os.path.join(source["store"], "blobs", f"sha256-{digest}")
    found = plain_size(path)
    if found != size:
        raise AirlockError.refuse(
            "the blob is not of the size that its manifest says",
            expected=f"{size} bytes",
            found=f"{found} bytes",
            where=path,
            fix="let Ollama pull the model again",
        )
    return {"type": "file", "path": path}


def _weights(manifest: dict[str, Any], where: str) -> tuple[str, int]:
    """Return digest and size of the one layer that holds the weights. Raises AirlockError."""
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise unexpected("list of layers", where)
    kinds = [str(layer.get("mediaType", "")).removeprefix(_KIND) for layer in layers]
    for kind in kinds:
        if kind not in (_MODEL, *_LEFT_OUT):
            raise AirlockError.refuse(
                "the model has a layer that no runtime here can use",
                expected="weights in one GGUF file",
                found=kind[:100],
                where=where,
            )
    if kinds.count(_MODEL) != 1:
        raise AirlockError.refuse(
            "the model has not one layer of weights", found=str(kinds.count(_MODEL)), where=where
        )
    layer = layers[kinds.index(_MODEL)]
    digest = _DIGEST.fullmatch(str(layer.get("digest")))
    size = layer.get("size")
    if not digest or not isinstance(size, int) or size < 1:
        raise unexpected("digest and size of the weights", where)
    return digest[1], size
