# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of the catalog held against the signatures of their publishers."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..module_utils import manifests, model_trust
from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited, sha256_bytes
from . import model_signing


def verify(
    models: Mapping[str, Any],
    name: str,
    site_dir: Path,
    *,
    extra: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Return who signed the model ``name``; None when the catalog demands no signature.

    ``{"model", "type", "identity", "key_id", "bundle_sha256", "as_of"}``. The files of the catalog,
    and ``extra`` (path to SHA-256), have to be the signed ones exactly. Raises AirlockError.
    """
    manifest = manifests.manifest(models, name)
    entry = models[name].get("signature")
    if entry is None:
        return None
    where = f"airlock_models.{name}.signature"
    trust = model_trust.parse(entry, where)
    bundle = _read(site_dir, trust.bundle, model_signing.MAX_BUNDLE, f"{where}.bundle")
    anchor = _read(site_dir, trust.anchor, model_signing.MAX_ANCHOR, where)
    spot = f"model {name}, {trust.bundle}"
    if trust.type == "key":
        signed = model_signing.by_key(bundle, anchor, spot)
    else:
        day = trust.as_of or datetime.datetime.now(datetime.timezone.utc).date()
        noon = datetime.datetime(day.year, day.month, day.day, 12)
        signed = model_signing.by_certificate(bundle, anchor, trust.identity, noon, spot)
    files = {file.path: file.content.sha256 for file in manifest.files}
    model_signing.refuse_difference(signed, {**files, **(extra or {})}, spot)
    return {
        "model": name,
        "type": trust.type,
        "identity": trust.identity,
        "key_id": signed.key_id,
        "bundle_sha256": sha256_bytes(bundle),
        "as_of": trust.as_of.isoformat() if trust.as_of else None,
    }


def _read(site_dir: Path, path: str, limit: int, where: str) -> bytes:
    full = site_dir / path
    try:
        return read_limited(str(full), limit)
    except OSError as exc:
        raise AirlockError.refuse(
            "the file cannot be read",
            found=exc.strerror or "an error",
            where=f"{where}: {full}",
            fix="put it there, or correct the path",
        ) from exc
