# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``models.lock.json``: what the models of ``models.yml`` were resolved to, by ``pull.yml`` alone.

Canonical JSON; ``intent`` is the entry that was resolved, the rest is an entry of the catalog, and
``envelope`` is the signature of the site over all but itself (plugin_utils/signing.py)::

    {"version": 1, "models": {"<name>": {"intent": {...}, "origin": "<text>", "revision": "…",
        "licence": "…", "files": [{"path", "size", "sha256", "source": {...}, "checked": {...}}],
        "signature": {...}}},
     "envelope": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import artifacts_schema as schema
from . import canonical, manifests
from .errors import AirlockError
from .models_intent import Intent

_VERSION = 1
_CATALOG = ("revision", "licence", "files")
_OPTIONAL = ("signature",)
MAX_LOCK = 16 * 1024**2


def entry(intent: Intent, origin: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the locked entry of a model that was fetched and checked. Raises AirlockError."""
    locked = {
        "intent": intent.document(),
        "origin": origin,
        "revision": intent.revision,
        "licence": intent.licence,
        "files": files,
        **({"signature": dict(intent.signature)} if intent.signature else {}),
    }
    _check(intent.name, locked, "models.lock.json")
    return locked


def document(models: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is signed for ``models``, entries by name."""
    return {"version": _VERSION, "models": dict(models)}


def dumps(models: Mapping[str, Any], envelope: Mapping[str, Any]) -> bytes:
    """Return the file for ``models`` with its signature."""
    return canonical.dumps({**document(models), "envelope": dict(envelope)}) + b"\n"


def parse(data: bytes, where: str) -> tuple[dict[str, dict[str, Any]], Any]:
    """Return the entries by name, and the signature, unverified, or None. Raises AirlockError."""
    found = schema.fields(
        canonical.loads(data, where=where, max_bytes=MAX_LOCK),
        where,
        required=("version", "models"),
        optional=("envelope",),
    )
    schema.integer(found["version"], f"{where}: version", _VERSION, _VERSION)
    if not isinstance(found["models"], Mapping):
        raise AirlockError.refuse("the models are no mapping", where=where)
    models = dict(found["models"])
    for name, locked in models.items():
        _check(name, locked, where)
    return models, found.get("envelope")


def catalog(
    inline: Mapping[str, Any],
    intents: Mapping[str, Intent],
    locked: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the one catalog: what stands in ``airlock_models``, and what ``models.yml`` was locked to.

    Raises AirlockError for a name in both and for an entry that changed since it was locked. An entry
    that was never pulled is not part of it.
    """
    found = dict(inline)
    for name, intent in intents.items():
        if name in inline:
            raise AirlockError.refuse(
                "the model is in models.yml and in airlock_models",
                expected="one of them",
                where=f"model {name}",
            )
        if name not in locked:
            continue
        if locked[name]["intent"] != intent.document():
            raise AirlockError.refuse(
                "models.yml was changed since the model was locked",
                where=f"model {name}",
                fix=f"pull it anew: ansible-playbook homelab.airlock.pull -e model={name}",
            )
        found[name] = _catalog_entry(locked[name])
    return found


def _catalog_entry(locked: Mapping[str, Any]) -> dict[str, Any]:
    return {key: locked[key] for key in (*_CATALOG, *_OPTIONAL) if key in locked}


def _check(name: str, value: Any, where: str) -> None:
    spot = f"{where}: {name}"
    fields = schema.fields(
        value, spot, required=("intent", "origin", *_CATALOG), optional=_OPTIONAL
    )
    try:
        manifests.manifest({name: _catalog_entry(fields)}, name)
    except AirlockError as exc:
        raise AirlockError(f"{where}: {exc}") from exc
