# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's own catalogues of routes and bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import request_policy, routes

FILES = Path(__file__).parents[2] / "roles/gateway/files/routes"
BODIES: dict[str, Any] = json.loads((FILES / "bodies.json").read_text())
BACKENDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in FILES.glob("*.json")
    if path.stem != "bodies"
}
FORMS = request_policy.forms(BODIES, where="bodies.json")
CATALOGUE = routes.Catalogue(FORMS, BACKENDS.items())


def on(backend: str, dialect: str) -> request_policy.Route:
    """Return the route of a dialect on a backend."""
    (entry,) = [entry for entry in BACKENDS[backend]["routes"] if entry.get("dialect") == dialect]
    return CATALOGUE.find(entry["method"], entry["path"]).on(backend)
