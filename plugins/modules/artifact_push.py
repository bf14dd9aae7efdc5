#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_push
short_description: Push verified artifacts from the controller to a host
version_added: 0.1.0
description:
  - Sends what the host cannot prove it has, and verifies it again there as root before it gets its name, mode 0444 and
    an entry in the ownership record.
  - Uploads go as the ordinary user of the connection into a directory of their own beside the destination; root copies
    from there while hashing, so that what was hashed is what is kept. An upload that broke off is gone on with.
  - The file of a model (O(artifacts[].manifest)) is sealed in its place, by the immutable flag and by fs-verity where
    the file system has them, and gets a receipt, so that the next look at it reads none of its bytes.
  - V(unpack=wheel) unpacks the plain files of a wheel into a directory with a receipt of their digests. Anything else
    in the archive is refused.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  role:
    description: Name of the role, the key in the ownership record.
    type: str
    required: true
  artifacts:
    description: What the host has to have. Missing parent directories are made.
    type: list
    elements: dict
    required: true
    suboptions:
      sha256: {description: SHA-256 of the artifact., type: str, required: true}
      size: {description: Size in bytes., type: int, required: true}
      dest: {description: Absolute path on the host., type: path, required: true}
      mode: {description: Octal mode of a file., type: str, default: "0444"}
      unpack:
        description: Unpack it into the directory O(artifacts[].dest).
        type: str
        choices: [wheel]
      found_at:
        description:
          - File on the host that should have this content, a blob of Ollama's for instance. It is copied from there,
            without using room where the file system can share blocks, and nothing is sent.
        type: path
      model_file:
        description: Name of the file in its model; with O(artifacts[].found_at) its format is checked on the host.
        type: str
      proven:
        description: The caller verified the destination earlier in this play; it is not read again.
        type: bool
        default: false
      manifest:
        description: Digest of the manifest of the model that it is a file of.
        type: str
        default: ""
  receipts:
    description: Directory of the receipts; none are issued unless it is there and root's alone.
    type: path
    default: /var/lib/airlock/receipts
  cache:
    description: Directory on the controller that holds them as C(sha256-<hex>); read by the action only.
    type: path
    required: true
  prune_directory:
    description: Remove files of O(role) from this directory that O(artifacts) no longer name.
    type: path
  phase:
    description: Filled in by the action.
    type: str
    choices: [stage, place, discard]
    default: stage
  uploader:
    description: Filled in by the action, the user id of the connection.
    type: int
    default: 0
  staging:
    description: Filled in by the action.
    type: path
"""

EXAMPLES = r"""
- name: Push a runtime
  homelab.airlock.artifact_push:
    role: runtime
    cache: "{{ airlock_site_dir }}/cache"
    artifacts:
      - sha256: c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261
        size: 33827498
        dest: /opt/airlock/runtimes/llama_cpp-c54e7d13
        unpack: wheel
"""

RETURN = r"""
missing:
  description:
    - Destinations that the host could not prove, each with C(dest), C(sha256), C(size), C(reason) and C(have), the
      bytes that an interrupted push has left.
  returned: success
  type: list
  elements: dict
adopted:
  description: Destinations that were or would be copied from the host, each with C(dest), C(sha256) and C(found_at).
  returned: success
  type: list
  elements: dict
reasons:
  description: One sentence for each change.
  returned: success
  type: list
  elements: str
staging:
  description: Upload directory, for the action.
  returned: when something is missing and not in check mode
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_push as pushes
from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_schema as schema
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content, human
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import DIRECTORY, Book


def _push(entry: dict[str, t.Any]) -> pushes.Push:
    return pushes.Push(
        Content(schema.sha256(entry["sha256"], entry["dest"]), entry["size"]),
        entry["dest"],
        int(entry["mode"], 8),
        wheel=entry["unpack"] == "wheel",
        proven=entry["proven"],
        found_at=entry["found_at"] or "",
        model_file=entry["model_file"] or "",
        manifest=schema.sha256(entry["manifest"], entry["dest"]) if entry["manifest"] else "",
    )


def _stage(
    wanted: list[pushes.Push], params: dict[str, t.Any], record: Record, check: bool
) -> dict[str, t.Any]:
    role = params["role"]
    book = Book(params["receipts"])
    flaws = pushes.lacking(wanted, role, record, book)
    lacking = [(push, why) for push, why in flaws if not push.found_at]
    adopted = [(push, why) for push, why in flaws if push.found_at]
    reasons = [
        f"{push.path}: {why}; {human(push.content.size)} to send" for push, why in lacking
    ] + [f"{push.path}: {why}; to copy from {push.found_at}" for push, why in adopted]
    for push, _why in adopted:
        if not check:
            pushes.adopt(push, role, record, book, record.save)
    if params["prune_directory"]:
        for path in pushes.surplus(wanted, params["prune_directory"], role, record):
            reasons.append(f"{path}: no longer wanted")
            if not check:
                pushes.remove(path, role, record)
    result: dict[str, t.Any] = {"changed": bool(reasons), "reasons": reasons}
    result["adopted"] = [
        {"dest": push.path, "sha256": push.content.sha256, "found_at": push.found_at}
        for push, _why in adopted
    ]
    have: dict[str, int] = {}
    if lacking and not check:
        missing = [push for push, _why in lacking]
        result["staging"], have = pushes.stage(missing, params["uploader"], role, record)
    result["missing"] = [
        {
            "dest": push.path,
            "sha256": push.content.sha256,
            "size": push.content.size,
            "reason": why,
            "have": have.get(push.content.object_name, 0),
        }
        for push, why in lacking
    ]
    return result


def _place(wanted: list[pushes.Push], params: dict[str, t.Any], record: Record) -> dict[str, t.Any]:
    try:
        for push in wanted:
            pushes.place(
                push,
                params["staging"],
                params["role"],
                record,
                Book(params["receipts"]),
                record.save,
            )
    finally:
        pushes.discard(params["staging"])
    return {"changed": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "required": True},
            "artifacts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "sha256": {"type": "str", "required": True},
                    "size": {"type": "int", "required": True},
                    "dest": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0444"},
                    "unpack": {"type": "str", "choices": ["wheel"]},
                    "found_at": {"type": "path"},
                    "model_file": {"type": "str"},
                    "proven": {"type": "bool", "default": False},
                    "manifest": {"type": "str", "default": ""},
                },
            },
            "receipts": {"type": "path", "default": DIRECTORY},
            "cache": {"type": "path", "required": True},
            "prune_directory": {"type": "path"},
            "phase": {"type": "str", "choices": ["stage", "place", "discard"], "default": "stage"},
            "uploader": {"type": "int", "default": 0},
            "staging": {"type": "path"},
        },
        required_if=[("phase", "place", ["staging"]), ("phase", "discard", ["staging"])],
        supports_check_mode=True,
    )
    record = None
    try:
        record = Record.load()
        before = record.to_bytes()
        wanted = [_push(entry) for entry in module.params["artifacts"]]
        if module.params["phase"] == "stage":
            result = _stage(wanted, module.params, record, module.check_mode)
        elif module.params["phase"] == "discard":
            pushes.discard(module.params["staging"])
            result = {"changed": False}
        else:
            result = _place(wanted, module.params, record)
    except (AirlockError, OSError) as exc:
        # What was placed before the failure is ours all the same.
        if record is not None and not module.check_mode:
            record.save()
        module.fail_json(msg=str(exc))
    if record.to_bytes() != before:
        record.save()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
