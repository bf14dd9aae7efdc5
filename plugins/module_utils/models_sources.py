# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source offers for a model: its files with whatever pins them, before any of them is fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from . import models_hub, models_ollama
from .artifacts import parse_source
from .artifacts_fetch import Request, follow
from .errors import AirlockError
from .models_intent import Intent
from .models_offer import Offer, OfferedFile, plain_size


def offer(intent: Intent, request: Request) -> Offer:
    """Return what the source of ``intent`` offers. Raises AirlockError, OSError and HTTPException."""
    return _BY_TYPE[intent.source["type"]](intent, request)


def _https(intent: Intent, request: Request) -> Offer:
    source = {key: intent.source[key] for key in ("type", "url", "sha256")}
    answer = follow(request, source["url"], {"Range": "bytes=0-0"})
    with answer:
        size = _whole_size(answer)
    if not size:
        raise AirlockError.refuse(
            "the server does not say how large the file is",
            where=f"model {intent.name}",
            fix="use another source, or write the file with its size into airlock_models",
        )
    file = OfferedFile(intent.source["path"], source, source["sha256"], size)
    return Offer(str(parse_source(source, "source")), (file,))


def _whole_size(answer: Any) -> int:
    """Return the size of what was asked for one byte of, 0 when it is not said (RFC 9110, 14.4)."""
    headers = answer.headers
    text = headers.get("Content-Length", "")
    if answer.status == 206:
        text = headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _pypi(intent: Intent, _request: Request) -> Offer:
    source = {key: value for key, value in intent.source.items() if key != "path"}
    return Offer(str(parse_source(source, "source")), (OfferedFile(intent.source["path"], source),))


def _vault(intent: Intent, _request: Request) -> Offer:
    directory = intent.source["directory"]
    files = []
    for path, digest in sorted(intent.source["files"].items()):
        place = os.path.join(directory, f"sha256-{digest}")
        files.append(OfferedFile(path, {"type": "file", "path": place}, digest, plain_size(place)))
    return Offer(f"vault {directory}", tuple(files))


_BY_TYPE: dict[str, Callable[[Intent, Request], Offer]] = {
    "https": _https,
    "pypi": _pypi,
    "vault": _vault,
    "huggingface": models_hub.offer,
    "ollama": models_ollama.offer,
}
