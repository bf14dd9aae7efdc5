#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Start releases, wait until they serve, and move the slots of services to them
version_added: 0.1.0
description:
  - Starts the units that a move of the slots needs, all at once, restarts those whose files are newer than their
    process, waits until each says that it serves, and only then replaces the slots that the gatekeeper follows, in one
    rename.
  - Then stops releases that no service uses any more, after their last connection ended, and removes the files of
    those that no slot remembers and the runtimes that none of the others runs from.
  - When a release refuses to start, the slots and everything that serves stay as they were and the task fails with
    what the release itself said.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  move:
    description:
      - V(keep) brings up the current release of every service in O(releases). The release that is named becomes current
        only for a service without one; nothing stands in for a current release any more, and no canary is left.
        Services that are not named lose their slots.
      - V(stage) makes the one release a canary, beside what is current; V(withdraw) stops the canary of O(service).
      - V(promote) makes the one release current. What answered becomes previous, and what was previous the fallback.
      - V(roll_back) exchanges current and previous of O(service).
    type: str
    choices: [keep, stage, withdraw, promote, roll_back]
    default: keep
  service:
    description: The service whose slots are moved by V(withdraw) and V(roll_back).
    type: str
  reason:
    description: Why, for the journal of the host, which keeps the parameters of every module.
    type: str
  releases:
    description: The releases that are wanted, one for each service; V(stage) and V(promote) take exactly one.
    type: list
    elements: dict
    default: []
    suboptions:
      service: {description: Name that clients use., type: str, required: true}
      release: {description: Name of the release., type: str, required: true}
      mode: {description: What it answers., type: str, choices: [chat, embedding], required: true}
      start_timeout: {description: Seconds that it may take to start., type: int, required: true}
      inputs:
        description: Files that it was started from; a newer one makes it restart.
        type: list
        elements: path
        default: []
  inputs:
    description: Files that every release was started from.
    type: list
    elements: path
    default: []
  drain:
    description: Seconds to wait for the connections of a release that is about to be stopped.
    type: int
    default: 30
  slots:
    description: The file that the gatekeeper follows; its directory must exist.
    type: path
    default: /etc/airlock/gateway/slots.json
  group:
    description: Group that may read O(slots).
    type: str
    default: airlock-gatekeeper
"""

EXAMPLES = r"""
- name: Let the service chat be answered, by this release if it has none
  homelab.airlock.release_switch:
    releases:
      - {service: chat, release: chat-1a2b3c4d, mode: chat, start_timeout: 62}

- name: Go back to what was there before
  homelab.airlock.release_switch:
    move: roll_back
    service: chat
    reason: worse answers
"""

RETURN = r"""
reasons:
  description: One sentence for each thing that was or would be done.
  returned: success
  type: list
  elements: str
before:
  description: The slots before, service to C(current), C(previous), C(fallback), C(canary), C(mode), C(standin).
  returned: success
  type: dict
after:
  description: The slots after.
  returned: success
  type: dict
"""

from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import releases_slots
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record
from ansible_collections.homelab.airlock.plugins.module_utils.releases_switch import (
    Outcome,
    Switch,
    Wanted,
)

_MOVES: dict[str, Callable[[Switch, list[Wanted], str], Outcome]] = {
    "keep": lambda switch, wanted, _service: switch.keep(wanted),
    "stage": lambda switch, wanted, _service: switch.stage(wanted[0]),
    "withdraw": lambda switch, _wanted, service: switch.withdraw(service),
    "promote": lambda switch, wanted, _service: switch.promote(wanted[0]),
    "roll_back": lambda switch, _wanted, service: switch.roll_back(service),
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "move": {"type": "str", "choices": list(_MOVES), "default": "keep"},
            "service": {"type": "str"},
            "reason": {"type": "str"},
            "releases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "service": {"type": "str", "required": True},
                    "release": {"type": "str", "required": True},
                    "mode": {"type": "str", "choices": ["chat", "embedding"], "required": True},
                    "start_timeout": {"type": "int", "required": True},
                    "inputs": {"type": "list", "elements": "path", "default": []},
                },
            },
            "inputs": {"type": "list", "elements": "path", "default": []},
            "drain": {"type": "int", "default": 30},
            "slots": {"type": "path", "default": releases_slots.PATH},
            "group": {"type": "str", "default": releases_slots.GROUP},
        },
        required_if=[("move", "withdraw", ["service"]), ("move", "roll_back", ["service"])],
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str]:
        status, out, err = module.run_command(command)
        return status, out + err

    wanted = [
        Wanted(**{**entry, "inputs": (*entry["inputs"], *module.params["inputs"])})
        for entry in module.params["releases"]
    ]
    move = module.params["move"]
    if move in ("stage", "promote") and len(wanted) != 1:
        module.fail_json(
            msg=f"{move} moves one release: expected 1 in releases, found {len(wanted)}."
        )
    record = None
    try:
        record = Record.load()
        before = record.to_bytes()
        switch = Switch(
            record,
            run,
            check=module.check_mode,
            drain=module.params["drain"],
            slots=module.params["slots"],
            group=module.params["group"],
        )
        outcome = _MOVES[move](switch, wanted, module.params["service"])
    except (AirlockError, OSError) as exc:
        # What was started before the failure is ours all the same.
        if record is not None and not module.check_mode:
            record.save()
        module.fail_json(msg=str(exc))
    if record.to_bytes() != before:
        record.save()
    module.exit_json(
        changed=bool(outcome.reasons),
        reasons=outcome.reasons,
        before=outcome.before,
        after=outcome.after,
        diff={
            "before_header": module.params["slots"],
            "after_header": module.params["slots"],
            "before": releases_slots.to_bytes(outcome.before).decode(),
            "after": releases_slots.to_bytes(outcome.after).decode(),
        },
    )


if __name__ == "__main__":
    main()
