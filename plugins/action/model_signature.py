# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds models against the signatures of their publishers, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_signatures
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)

# What somebody would slip in: a file that bundles commonly say they ignore.
_INTRUDER = {".git/config": "0" * 64}


class ActionModule(ControllerAction):
    """Reads the bundles and keys of the site; changes nothing."""

    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "models": {"type": "dict", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "attack": {"type": "bool", "default": False},
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return _run(wanted)


def _run(wanted: dict[str, Any]) -> dict[str, Any]:
    models, site_dir = wanted["models"], Path(wanted["site_dir"])
    found = [model_signatures.verify(models, name, site_dir) for name in wanted["names"]]
    signatures = [signature for signature in found if signature]
    result: dict[str, Any] = {"changed": False, "signatures": signatures}
    if wanted["attack"] and signatures:
        result["attack"] = _attack(models, signatures[0]["model"], site_dir)
    return result


def _attack(models: dict[str, Any], name: str, site_dir: Path) -> dict[str, Any]:
    """Return how a file that nobody signed fared."""
    try:
        model_signatures.verify(models, name, site_dir, extra=_INTRUDER)
    except AirlockError as exc:
        return {"holds": True, "observed": str(exc)}
    return {"holds": False, "observed": "accepted"}
