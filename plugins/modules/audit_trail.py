#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_trail
short_description: Begin the audit trail of a host, and prove that nobody has been at it
version_added: 0.1.0
description:
  - Begins a trail with a key that is made on the controller and kept there, as C(secrets/audit/<host>.<trail>.key) of
    the site directory. The host gets it once, and forgets it with the first record that it writes.
  - Proves the trail on the controller, since a host that was taken cannot vouch for itself. Every record is held
    against its key, the record before it, the records that earlier visits have seen (C(state/<host>.audit.json)) and
    the checkpoints in the journal of the host. An edited, deleted, reordered or inserted record is found, and a
    trail that was cut off behind any of these.
  - An action plugin runs this module on the host and does the rest itself.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: No trail is begun. A proof is the same, and is remembered.
  diff_mode: {support: none, details: There is nothing to compare.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: Site directory on the controller. Required.
    type: path
  host:
    description: Name of the host in the site directory. Required.
    type: str
  state:
    description: Have a trail, or prove it. V(read) is for the action plugin.
    type: str
    choices: [present, proven, read]
    default: present
  passphrase:
    description: What the first key is encrypted with on the controller.
    type: str
    default: ""
  keep_days:
    description: How long the trail is kept; a younger record that is missing has not expired.
    type: int
    default: 90
  keep_bytes:
    description:
      - How large the complete segments may be together; beyond, the oldest goes before its days are over. That of the
        visit before counts, too, if it was less.
    type: int
    default: 4294967296
  show:
    description: How many of the last requests to return, and of the marked ones of each kind.
    type: int
    default: 0
  directory:
    description: Where the trail lies on the host.
    type: path
    default: /var/log/airlock/audit
  key:
    description: File with the key of the next record on the host.
    type: path
    default: /var/lib/airlock/audit/key
  user:
    description: User that writes the trail.
    type: str
    default: airlock-audit
  trail:
    description: For the action plugin.
    type: str
  first_key:
    description: For the action plugin.
    type: str
  after:
    description: For the action plugin.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Begin a trail where there is none
  homelab.airlock.audit_trail:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"

- name: Prove it
  homelab.airlock.audit_trail:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"
    state: proven
    show: 20
  register: trail
"""

RETURN = r"""
trail:
  description: Name of the trail, 16 hex digits; empty in check mode where there is none.
  returned: always
  type: str
before:
  description: The trail before it, in words.
  returned: when a trail was begun
  type: str
whole:
  description: Whether nothing was found.
  returned: when O(state=proven)
  type: bool
findings:
  description: What was found, one sentence each, 20 at most.
  returned: when O(state=proven)
  type: list
  elements: str
summary:
  description: What the trail holds, in a sentence.
  returned: when O(state=proven)
  type: str
records:
  description: How many records are proven.
  returned: when O(state=proven)
  type: int
last:
  description: Number of the last record.
  returned: when O(state=proven)
  type: int
sha256:
  description: Its SHA-256, which stands for the whole trail.
  returned: when O(state=proven)
  type: str
open:
  description: Ids of requests that were let through and whose end is not recorded yet.
  returned: when O(state=proven)
  type: list
  elements: str
lost:
  description: How many requests have no end because the gatekeeper died over them.
  returned: when O(state=proven)
  type: int
early:
  description:
    - Number of the last record that is gone before its days were over, because the trail was as large as it may be; 0
      when there is none.
  returned: when O(state=proven)
  type: int
unseen:
  description: How many of these no visit has seen.
  returned: when O(state=proven)
  type: int
callers:
  description: Who asked, with C(key), C(subject), C(requests), C(refused), C(tokens) and C(last).
  returned: when O(state=proven)
  type: list
  elements: dict
requests:
  description: The last O(show) requests, a line each.
  returned: when O(state=proven)
  type: list
  elements: str
marked:
  description:
    - The last O(show) requests of which screen or filter said something, and those that are uncertain, a line each, by
      C(screen), C(filter) and C(uncertain); one that has none is left out.
  returned: when O(state=proven)
  type: dict
attacks:
  description: How copies of the trail fared that somebody has been at, with C(probe), C(observed) and C(holds).
  returned: when O(state=proven)
  type: list
  elements: dict
"""

import base64
import os
import pwd
import re
import zlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import audit_key, audit_segments
from ansible_collections.homelab.airlock.plugins.module_utils.commands import Run, runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_BUDGET = 8 * 1024 * 1024
_CHECKPOINT = re.compile(
    r"^([0-9]{1,12})\.[0-9]+ .*: "
    r"checkpoint trail=([0-9a-f]{16}) seq=([0-9]{1,15}) sha256=([0-9a-f]{64})$",
    re.MULTILINE,
)
_JOURNAL = [
    "journalctl",
    "--unit=airlock-audit.service",
    "--output=short-unix",
    "--no-pager",
    "--lines=2000",
    "--grep=^checkpoint trail=",  # whatever else is said there, it pushes no checkpoint out
]
# The last minutes, and the first checkpoint of each day, which says more than the others.
_LOOKS = (_JOURNAL, [*_JOURNAL, "--priority=notice"])


def _held(path: str) -> audit_key.Held | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return audit_key.load(descriptor, path)
    finally:
        os.close(descriptor)


def _present(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    held = _held(params["key"])
    if held is not None or not params["first_key"] or check:
        return {"changed": held is None, "trail": held.trail if held else ""}
    try:
        user = pwd.getpwnam(params["user"])
    except KeyError as exc:
        raise AirlockError.refuse(
            f"there is no user {params['user']}",
            fix="run the playbook 'site' with the role baseline",
        ) from exc
    first = audit_key.Held(params["trail"], 1, bytes.fromhex(params["first_key"]))
    audit_key.begin(params["key"], first, uid=user.pw_uid, gid=user.pw_gid)
    return {"changed": True, "trail": params["trail"]}


def _checkpoints(run: Run) -> list[dict[str, Any]]:
    """Return what the journal says; a host without a journal says nothing."""
    said = {
        found
        for status, output in map(run, _LOOKS)
        if status == 0
        for found in _CHECKPOINT.findall(output)
    }
    return [
        {"when": int(when), "trail": trail, "seq": int(seq), "sha256": sha256}
        for when, trail, seq, sha256 in sorted(said)
    ]


def _read(params: dict[str, Any], run: Run) -> dict[str, Any]:
    held = _held(params["key"])
    checkpoints = _checkpoints(run)
    segments, complete = audit_segments.read_after(params["directory"], params["after"], _BUDGET)
    return {
        "changed": False,
        "trail": held.trail if held else "",
        "next_seq": held.seq if held else 0,
        "checkpoints": checkpoints,
        "segments": [
            {"first": first, "data": base64.b64encode(zlib.compress(data, 6)).decode()}
            for first, data in segments
        ],
        "complete": complete,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "site_dir": {"type": "path"},
            "host": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["present", "proven", "read"],
                "default": "present",
            },
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "keep_days": {"type": "int", "default": 90},
            "keep_bytes": {"type": "int", "default": 4 * 1024**3},
            "show": {"type": "int", "default": 0},
            "directory": {"type": "path", "default": audit_segments.DIRECTORY},
            "key": {"type": "path", "default": audit_key.PATH, "no_log": False},
            "user": {"type": "str", "default": "airlock-audit"},
            "trail": {"type": "str"},
            "first_key": {"type": "str", "no_log": True},
            "after": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "present":
            result = _present(module.params, check=module.check_mode)
        else:
            result = _read(module.params, runner(module))
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
