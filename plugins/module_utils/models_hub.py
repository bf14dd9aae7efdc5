# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in the layout of the Hugging Face hub: a server over HTTPS, or the cache of its own tools.

Server (Hub API, "GET /api/models/{repo}/revision/{commit}?blobs=true"): ``siblings`` with ``rfilename``,
``size``, ``blobId`` (git's object id) and for large files ``lfs`` with ``sha256``; the file itself at
``/{repo}/resolve/{commit}/{path}``. Cache (huggingface_hub, "Understand caching"):
``models--{org}--{name}/snapshots/{commit}/{path}`` links to ``blobs/{sha256 or git's object id}``.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import Any
from urllib.parse import quote

from .artifacts_fetch import Request, follow
from .errors import AirlockError
from .models_intent import Intent
from .models_offer import Offer, OfferedFile, plain_size, read_document, unexpected

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")


def offer(intent: Intent, request: Request) -> Offer:
    """Return what the hub, or a cache of it, offers. Raises AirlockError, OSError and HTTPException."""
    if "cache" in intent.source:
        return _cached(intent)
    endpoint, repository = intent.source["endpoint"], intent.source["repository"]
    where = f"{endpoint}/{repository}"
    url = f"{endpoint}/api/models/{repository}/revision/{intent.revision}?blobs=true"
    answer = read_document(follow(request, url, {}), where)
    if answer.get("sha") != intent.revision:
        raise AirlockError.refuse(
            "the server answers with another revision",
            expected=intent.revision,
            found=str(answer.get("sha")),
            where=where,
        )
    listed = _listed(answer, where)
    base = f"{endpoint}/{repository}/resolve/{intent.revision}"
    files = tuple(_file(listed, path, base, where) for path in intent.source["files"])
    return Offer(f"{where} at {intent.revision}", files, _licence(answer))


def _listed(answer: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    siblings = answer.get("siblings")
    if not isinstance(siblings, list) or not all(isinstance(item, dict) for item in siblings):
        raise unexpected("list of files", where)
    return {str(item.get("rfilename")): item for item in siblings}


def _file(listed: dict[str, dict[str, Any]], path: str, base: str, where: str) -> OfferedFile:
    if path not in listed:
        near = difflib.get_close_matches(path, listed, 3, 0.4)
        raise AirlockError.refuse(
            f"the repository has no file '{path}' at this revision",
            expected=" or ".join(near) or "one that its page lists",
            where=where,
        )
    entry = listed[path]
    large = entry.get("lfs")
    facts = large if isinstance(large, dict) else entry
    size = facts.get("size")
    digest = str(facts.get("sha256", "") if facts is large else "")
    git = str(entry.get("blobId", "")) if facts is entry else ""
    pinned = _SHA256.fullmatch(digest) or _GIT.fullmatch(git)
    if not pinned or not isinstance(size, int) or size < 1:
        raise unexpected(f"size and digest of '{path}'", where)
    source = {"type": "https", "url": f"{base}/{quote(path)}"}
    if digest:
        source["sha256"] = digest
    return OfferedFile(path, source, digest, size, git)


def _licence(answer: dict[str, Any]) -> str:
    """Return the licence of the model card, '' when it gives none."""
    card = answer.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else None
    return licence if isinstance(licence, str) else ""


def _cached(intent: Intent) -> Offer:
    root = os.path.join(
        intent.source["cache"], "models--" + intent.source["repository"].replace("/", "--")
    )
    snapshot = os.path.join(root, "snapshots", intent.revision)
    if not os.path.isdir(snapshot):
        raise AirlockError.refuse(
            "the cache has not this revision", expected=intent.revision, where=root
        )
    files = tuple(_blob(root, snapshot, path) for path in intent.source["files"])
    return Offer(f"cache {root} at {intent.revision}", files)


def _blob(root: str, snapshot: str, path: str) -> OfferedFile:
    """Return the blob that a name of the snapshot stands for; nothing outside ``blobs`` is taken."""
    place = os.path.realpath(os.path.join(snapshot, path))
    directory, name = os.path.split(place)
    if directory != os.path.realpath(os.path.join(root, "blobs")):
        raise AirlockError.refuse(
            f"'{path}' does not lead to a blob of the cache",
            expected=f"a link into {root}/blobs",
            found=place,
            where=snapshot,
        )
    size = plain_size(place)
    source = {"type": "file", "path": place}
    if _SHA256.fullmatch(name):
        return OfferedFile(path, source, name, size)
    if _GIT.fullmatch(name):
        return OfferedFile(path, source, "", size, name)
    raise AirlockError.refuse("the name of the blob is no digest", found=name, where=snapshot)
