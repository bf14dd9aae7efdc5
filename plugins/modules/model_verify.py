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
  - Proves each file by the cheapest means that still holds. A receipt of the last proof costs no byte of the model;
    when the file, the manifest, the boot or the clock are no longer those of the receipt, or it is too old, every byte
    is read.
  - A file that is a link, has a second name, another owner or another mode counts as corrupt, and so does one that
    somebody has open for writing.
  - Changes nothing but the receipts, where their directory is there. What it reads does not push a running model out of
    memory.
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
      manifest: {description: Digest of its manifest; receipts are for one., type: str, default: ""}
      files:
        description: Its files on the host.
        type: list
        elements: dict
        required: true
        suboptions:
          path: {description: Absolute path., type: path, required: true}
          sha256: {description: SHA-256 that it must have., type: str, required: true}
          size: {description: Size in bytes that it must have., type: int, required: true}
          name: {description: Its path within the model., type: str, default: ""}
          checked: {description: What the check of its format must find., type: dict}
  level:
    description:
      - How much to trust. V(receipt) takes a receipt that holds; V(content) reads every byte, V(full) compares SHA-256
        and the structure of the format and asks no receipt.
    type: str
    choices: [receipt, content, full]
    default: receipt
  receipts:
    description: Directory of the receipts.
    type: path
    default: /var/lib/airlock/receipts
  store:
    description: Directory in which nothing else may lie than what O(models) and the ownership record name.
    type: path
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
      C(path), C(state), C(expected), C(found), C(level) (V(0) receipt, V(1) fs-verity, V(2) every byte, V(3) SHA-256
      and structure), C(stale) (why no receipt was enough), C(read), the bytes of the model that were read, and
      C(verity), whether fs-verity stands guard over it.
  returned: always
  type: dict
read:
  description: Bytes of models that were read.
  returned: success
  type: int
verity:
  description: Whether fs-verity stands guard over every file whose bytes were read.
  returned: success
  type: bool
strangers:
  description: Paths in O(store) that nothing names.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_schema as schema
from ansible_collections.homelab.airlock.plugins.module_utils import custody
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.formats_checked import parse
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import (
    DIRECTORY,
    Book,
    Moment,
)

_WORST_FIRST = (custody.CORRUPT, custody.MISSING, custody.OK)
_LEVELS = {"receipt": custody.RECEIPT, "content": custody.CONTENT, "full": custody.FULL}
_TOLD = ("path", "state", "expected", "found", "level", "stale", "read", "verity")


def subjects(model: dict[str, t.Any], owner: int, mode: int) -> list[custody.Subject]:
    """Return the files of a model as they must be. Raises AirlockError."""
    return [
        custody.Subject(
            entry["path"],
            Content(schema.sha256(entry["sha256"], entry["path"]), entry["size"]),
            model.get("manifest", ""),
            entry.get("name", ""),
            parse(entry["checked"], entry["path"]) if entry.get("checked") else None,
            owner,
            mode,
        )
        for entry in model["files"]
    ]


def summary(name: str, findings: list[custody.Finding]) -> dict[str, t.Any]:
    """Return the state of one model and of each of its files."""
    states = {finding.state for finding in findings}
    return {
        "state": next(state for state in _WORST_FIRST if state in states),
        "reasons": [
            finding.sentence(f"model {name}, {finding.path}")
            for finding in findings
            if finding.state != custody.OK
        ],
        "files": [{key: getattr(finding, key) for key in _TOLD} for finding in findings],
    }


def verify(params: dict[str, t.Any], issue: bool) -> dict[str, dict[str, t.Any]]:
    """Return the state of each model by name. Raises AirlockError and OSError."""
    owner, mode = params["owner"], int(params["mode"], 8)
    wanted = {model["name"]: subjects(model, owner, mode) for model in params["models"]}
    found = custody.prove_all(
        [subject for files in wanted.values() for subject in files],
        Book(params["receipts"]),
        Moment.now(),
        least=_LEVELS[params["level"]],
        issue=issue,
    )
    return {name: summary(name, [found[file] for file in files]) for name, files in wanted.items()}


def strangers(store: str, models: list[dict[str, t.Any]]) -> list[str]:
    """Return what lies in the store and neither a model nor the ownership record names."""
    known = {entry["path"] for model in models for entry in model["files"]}
    return custody.strangers(store, known | set(Record.load().all_claims("files")))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "models": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "manifest": {"type": "str", "default": ""},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "path": {"type": "path", "required": True},
                            "sha256": {"type": "str", "required": True},
                            "size": {"type": "int", "required": True},
                            "name": {"type": "str", "default": ""},
                            "checked": {"type": "dict"},
                        },
                    },
                },
            },
            "level": {"type": "str", "choices": list(_LEVELS), "default": "receipt"},
            "receipts": {"type": "path", "default": DIRECTORY},
            "store": {"type": "path"},
            "owner": {"type": "int", "default": 0},
            "mode": {"type": "str", "default": "0444"},
            "fail_on": {
                "type": "list",
                "elements": "str",
                "choices": [custody.MISSING, custody.CORRUPT],
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        models = verify(params, issue=not module.check_mode)
        foreign = strangers(params["store"], params["models"]) if params["store"] else []
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc), models={})
    refused = [
        reason
        for result in models.values()
        if result["state"] in params["fail_on"]
        for reason in result["reasons"]
    ]
    if refused:
        module.fail_json(msg=" ".join(refused), models=models)
    files = [file for result in models.values() for file in result["files"]]
    module.exit_json(
        changed=False,
        models=models,
        read=sum(file["read"] for file in files),
        verity=all(file["verity"] for file in files if file["read"]),
        strangers=foreign,
    )


if __name__ == "__main__":
    main()
