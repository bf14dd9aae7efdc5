#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: commit_confirm
short_description: Change what can cut the owner off, and undo it unless a new connection gets through
version_added: 0.1.0
description:
  - Places the files of a role as M(homelab.airlock.managed_files) does, and runs the commands that put them in force,
    detached from the connection. Then a connection of its own, over no kept one, has to arrive at O(address) and
    confirm the change.
  - Otherwise the host puts the previous state back by itself, not an open one. A timer does so after O(timeout)
    seconds, or C(airlock-revert.service) before the network comes up when the host went down before the confirmation.
    A command that fails undoes the change at once.
  - When nothing differs, this is one execution on the host that changes nothing.
  - Connections other than SSH are refused, because they prove nothing. The role C(baseline) brings what undoes changes.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  change:
    description: Name of the change, lower-case letters, digits and C(-). One of a name can be pending at a time.
    type: str
    required: true
  address:
    description: Where the new connection has to arrive; by default where the connection of the task does.
    type: str
    default: ""
  timeout:
    description: Seconds until the host undoes the change, 20 to 3600.
    type: int
    default: 90
  files:
    description: The files of the role, as the options of M(homelab.airlock.managed_files).
    type: dict
    required: true
  tables:
    description: Kernel tables to put back, each as family and name.
    type: list
    elements: str
    default: []
  running:
    description: Units that have to run; O(apply) is run when one does not.
    type: list
    elements: str
    default: []
  because:
    description: Reasons to run O(apply) although no file differs, as another task found them.
    type: list
    elements: str
    default: []
  apply:
    description: Commands that put the files in force, each as a list of its words.
    type: list
    elements: list
    default: []
  revert:
    description: Commands to run once the previous files and tables are back.
    type: list
    elements: list
    default: []
  revert_boot:
    description: The same for when they are back before the network comes up at boot.
    type: list
    elements: list
    default: []
  stage:
    description: What this execution is for; filled in by the action.
    type: str
    choices: [begin, look, confirm]
    default: begin
  number:
    description: Number of the change; filled in by the action.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Change the rules; without a new connection the old ones return
  homelab.airlock.commit_confirm:
    change: egress
    timeout: 90
    files:
      role: egress
      files:
        - {path: /etc/airlock/egress.nft, template: egress.nft.j2, validate: "nft -c -f %s"}
        - {path: /etc/systemd/system/airlock-egress.service, template: airlock-egress.service.j2}
      units: [airlock-egress.service]
    tables: [inet airlock]
    running: [airlock-egress.service]
    apply:
      - [systemctl, enable, airlock-egress.service]
      - [systemctl, reload-or-restart, airlock-egress.service]
"""

RETURN = r"""
changed_paths:
  description: What changed, paths and account names.
  returned: always
  type: list
  elements: str
reasons:
  description: Why, one sentence each.
  returned: always
  type: list
  elements: str
confirmed:
  description: The address that the new connection arrived at, and after how many milliseconds, or null.
  returned: always
  type: dict
  sample: {address: 192.0.2.10, ms: 2140}
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.homelab.airlock.plugins.module_utils.changes import Changes
from ansible_collections.homelab.airlock.plugins.module_utils.changes_saved import active
from ansible_collections.homelab.airlock.plugins.module_utils.commands import Run, runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import SPEC, Plan

_COMMANDS = ("apply", "revert", "revert_boot")


def _plan(module: AnsibleModule) -> Plan:
    result = ArgumentSpecValidator(SPEC).validate(module.params["files"])
    module.no_log_values.update(result._no_log_values)
    if result.error_messages:
        raise AirlockError.refuse("files", found="; ".join(result.error_messages))
    return Plan.of(result.validated_parameters)


def _refuse_impossible(module: AnsibleModule) -> None:
    wanted = module.params
    if not re.fullmatch("[a-z][a-z0-9-]{0,31}", wanted["change"]):
        raise AirlockError.refuse(
            "the name of a change",
            expected="1 to 32 lower-case letters, digits and '-'",
            found=repr(wanted["change"]),
            where="change",
        )
    if not 20 <= wanted["timeout"] <= 3600:
        raise AirlockError.refuse(
            "the time to confirm in",
            expected="20 to 3600 seconds",
            found=str(wanted["timeout"]),
            where="timeout",
        )


def _begin(module: AnsibleModule, run: Run) -> dict[str, object]:
    wanted = module.params
    _refuse_impossible(module)
    plan = _plan(module)
    Changes(run).settle(wanted["change"], check=module.check_mode)
    predicted = plan.carry_out(run, check=True)
    stopped = [unit for unit in wanted["running"] if not active(run, unit)]
    reasons = [*predicted.reasons, *wanted["because"], *(f"{unit}: not active" for unit in stopped)]
    result = {
        "changed": bool(reasons),
        "changed_paths": predicted.changed_paths,
        "reasons": reasons,
        "diff": predicted.diffs,
        "confirmed": None,
    }
    if module.check_mode:
        return result
    if not reasons:
        plan.carry_out(run)  # units may be new in the record
        return result
    number = Changes(run).begin(
        wanted["change"],
        plan,
        timeout=wanted["timeout"],
        tables=wanted["tables"],
        running=wanted["running"],
        commands={key: [[str(word) for word in line] for line in wanted[key]] for key in _COMMANDS},
        place=lambda: plan.carry_out(run),
    )
    return {**result, "number": number}


def main() -> None:
    lists = {"type": "list", "elements": "list", "default": []}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "change": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 90},
            "files": {"type": "dict", "required": True},
            "tables": names,
            "running": names,
            "because": names,
            "apply": lists,
            "revert": lists,
            "revert_boot": lists,
            "stage": {"type": "str", "choices": ["begin", "look", "confirm"], "default": "begin"},
            "number": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted, run = module.params, runner(module)
    try:
        if wanted["stage"] == "begin":
            result = _begin(module, run)
        else:
            changes = Changes(run)
            act = changes.confirm if wanted["stage"] == "confirm" else changes.outcome
            result = {"outcome": act(wanted["change"], wanted["number"])}
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
