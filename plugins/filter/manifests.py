# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: manifests
short_description: Turn the catalog of models into manifests and files to fetch
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns the models that the services use, each with its manifest and its files. A catalog entry that cannot be used
    and a service without a model are refused.
positional: services, keep
options:
  _input:
    description: The catalog of models, as in C(airlock_models).
    type: dict
    required: true
  services:
    description: Services by name, as in C(airlock_services).
    type: dict
    required: true
  keep:
    description: Names of models to return although no service uses them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show where the files of the models will be
  ansible.builtin.debug:
    msg: "{{ models | map(attribute='pushes') | flatten | map(attribute='dest') }}"
  vars:
    models: "{{ airlock_models | homelab.airlock.manifests(airlock_services) }}"
"""

RETURN = r"""
_value:
  description:
    - One entry for each model that is used, sorted by name, in the forms that the modules take, with C(name),
      C(manifest_sha256), C(model) for M(homelab.airlock.model_verify), C(artifacts) for
      M(homelab.airlock.artifact_fetch), C(pushes) for M(homelab.airlock.artifact_push) and C(manifest) for
      M(homelab.airlock.managed_files).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import canonical
from ansible_collections.homelab.airlock.plugins.module_utils import manifests as library
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def manifests(
    models: Mapping[str, Any], services: Mapping[str, Any], keep: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the models that ``services`` use and those of ``keep``, in the forms that the modules take."""
    try:
        return [_model(models, name) for name in library.wanted(models, services, keep)]
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def _model(models: Mapping[str, Any], name: str) -> dict[str, Any]:
    manifest = library.manifest(models, name)
    sources = {entry["path"]: entry["source"] for entry in models[name]["files"]}
    on_host = {path: source["path"] for path, source in sources.items() if source["type"] == "host"}
    contents = {
        entry.path: {"sha256": entry.content.sha256, "size": entry.content.size}
        for entry in manifest.files
    }
    return {
        "name": name,
        "manifest_sha256": manifest.digest,
        "model": {
            "name": name,
            "manifest": manifest.digest,
            "files": [
                {
                    "path": entry.stored,
                    "name": entry.path,
                    **({"checked": entry.checked.document()} if entry.checked else {}),
                    **contents[entry.path],
                }
                for entry in manifest.files
            ],
        },
        "artifacts": [
            {
                "name": f"model {name}, {entry.path}",
                "source": sources[entry.path],
                "model": name,
                "model_file": entry.path,
                **({"checked": entry.checked.document()} if entry.checked else {}),
                **contents[entry.path],
            }
            for entry in manifest.files
            if entry.path not in on_host
        ],
        "pushes": [
            {
                "dest": entry.stored,
                "manifest": manifest.digest,
                "model_file": entry.path,
                **({"found_at": on_host[entry.path]} if entry.path in on_host else {}),
                **contents[entry.path],
            }
            for entry in manifest.files
        ],
        "manifest": {
            "path": f"{library.MANIFESTS}/{name}.json",
            "content": canonical.dumps(manifest.document()).decode() + "\n",
        },
    }


class FilterModule:
    """Filters of the role model_store."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"manifests": manifests}
