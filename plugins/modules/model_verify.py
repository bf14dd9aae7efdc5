#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_verify
short_description: Hold the model files of a host against their manifests
version_added: 0.1.0
description:
  - Reads every byte of every file and compares size and SHA-256. A file that is a link, has a second name, another
    owner or another mode counts as corrupt.
  - Changes nothing. What it reads does not push a running model out of memory.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  models:
    description: The models and the files that each is made of.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the model., type: str, required: true}
      files:
        description: Its files on the host.
        type: list
        elements: dict
        required: true
        suboptions:
          path: {description: Absolute path., type: path, required: true}
          sha256: {description: SHA-256 that it must have., type: str, required: true}
          size: {description: Size in bytes that it must have., type: int, required: true}
  owner:
    description: User id that the files must belong to.
    type: int
    default: 0
  mode:
    description: Octal mode that the files must have.
    type: str
    default: "0444"
  fail_on:
    description: States that fail the task; without any they are only returned.
    type: list
    elements: str
    choices: [missing, corrupt]
    default: []
"""

EXAMPLES = r"""
- name: Refuse to go on with a model that is not the approved one
  homelab.airlock.model_verify:
    models:
      - name: smollm2
        files:
          - path: /var/lib/airlock/store/sha256-b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
            sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
            size: 98362432
    fail_on: [missing, corrupt]
"""

RETURN = r"""
models:
  description:
    - By name, C(state) (V(ok), V(missing) or V(corrupt), the worst of its files), C(reasons) in words and C(files) with
      C(path), C(state), C(expected) and C(found).
  returned: always
  type: dict
"""

import typing as t
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_schema as schema
from ansible_collections.homelab.airlock.plugins.module_utils import manifests
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_WORST_FIRST = ("corrupt", "missing", "ok")


def verify(model: dict[str, t.Any], owner: int, mode: int) -> dict[str, t.Any]:
    """Return the state of one model and of each of its files. Raises AirlockError and OSError."""
    findings = [
        manifests.examine(
            entry["path"],
            Content(schema.sha256(entry["sha256"], entry["path"]), entry["size"]),
            owner=owner,
            mode=mode,
        )
        for entry in model["files"]
    ]
    states = {finding.state for finding in findings}
    return {
        "state": next(state for state in _WORST_FIRST if state in states),
        "reasons": [
            finding.sentence(f"model {model['name']}, {finding.path}")
            for finding in findings
            if finding.state != "ok"
        ],
        "files": [asdict(finding) for finding in findings],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "models": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "path": {"type": "path", "required": True},
                            "sha256": {"type": "str", "required": True},
                            "size": {"type": "int", "required": True},
                        },
                    },
                },
            },
            "owner": {"type": "int", "default": 0},
            "mode": {"type": "str", "default": "0444"},
            "fail_on": {
                "type": "list",
                "elements": "str",
                "choices": ["missing", "corrupt"],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    try:
        models = {
            model["name"]: verify(model, module.params["owner"], int(module.params["mode"], 8))
            for model in module.params["models"]
        }
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc), models={})
    refused = [
        reason
        for result in models.values()
        if result["state"] in module.params["fail_on"]
        for reason in result["reasons"]
    ]
    if refused:
        module.fail_json(msg=" ".join(refused), models=models)
    module.exit_json(changed=False, models=models)


if __name__ == "__main__":
    main()
