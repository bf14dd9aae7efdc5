# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the bill of materials of a house from its locks, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils import (
    artifacts,
    bom,
    manifests,
    state,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_signatures
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import LockFiles


class ActionModule(ControllerAction):
    """Reads locks and bundles below the site directory, writes one file there."""

    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "dest": {"type": "path", "required": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
        "releases": {"type": "list", "elements": "dict", "required": True},
        "models": {"type": "dict", "required": True},
        "runtimes": {"type": "dict", "required": True},
        "passphrase": {"type": "str", "default": "", "no_log": True},
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        dest = Path(wanted["dest"])
        document = _document(wanted)
        data = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        return {
            "changed": self.write(dest, data),
            "dest": str(dest),
            "components": len(document["components"]),
            "serial_number": document["serialNumber"],
        }


def _document(wanted: dict[str, Any]) -> dict[str, Any]:
    site_dir, releases, models = Path(wanted["site_dir"]), wanted["releases"], wanted["models"]
    return bom.document(
        {host: _lock(site_dir, host, wanted) for host in wanted["hosts"]},
        releases,
        [
            bom.Model(
                manifests.manifest(models, name),
                {
                    path: artifact.source
                    for path, artifact in manifests.model_artifacts(models, name).items()
                },
                model_signatures.verify(models, name, site_dir),
            )
            for name in {release["model"] for release in releases}
        ],
        {
            name: _runtime(name, wanted["runtimes"][name])
            for name in {release["backend"] for release in releases}
        },
    )


def _lock(site_dir: Path, host: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the lock of ``host``, which has to be what the catalog resolves to. Raises AirlockError."""
    files = LockFiles(site_dir, host, passphrase=wanted["passphrase"], check=True)
    lock = files.accepted().lock
    if found := state.diff(lock["resolved"], state.resolve(wanted["releases"])):
        raise AirlockError.refuse(
            f"what you want is not what the lock of {host} says",
            found="; ".join(difference.sentence for difference in found),
            fix="run site.yml, with -e airlock_relock=true -e \"reason='...'\" if this is what shall be",
        )
    return lock


def _runtime(name: str, entry: dict[str, Any]) -> bom.Runtime:
    fields = {key: entry.get(key) for key in ("sha256", "size", "source")}
    return bom.Runtime(
        artifacts.parse({"name": f"runtime {name}", **fields}, f"runtime {name}"),
        str(entry["version"]),
        str(entry["licence"]),
    )
