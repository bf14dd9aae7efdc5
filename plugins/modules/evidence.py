#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence
short_description: Record what a probe tried and how it ended
version_added: 0.1.0
description:
  - Runs on the controller. Gives each record its verdict and collects the records of a run into one file for each
    host below C(evidence/) of the site directory.
  - A record that did not hold is V(failed), or V(waived) until the day of its waiver is over. A denial without a
    positive control in the same run is V(unproven). All others are V(passed).
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: Records are judged, and nothing is written.
  diff_mode: {support: none}
  idempotent:
    support: none
    details: Every run is evidence of its own.
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: Site directory on the controller.
    type: path
    required: true
  state:
    description: Begin a run, add records to it, or end it and write the files.
    type: str
    choices: [started, appended, collected]
    default: appended
  host:
    description: Host that the records are about. Required with O(state=appended).
    type: str
  records:
    description: What was tried.
    type: list
    elements: dict
    default: []
    suboptions:
      control: {description: Id of the control from C(docs/controls.yml)., type: str, required: true}
      vantage:
        description: V(self) is what the host says about itself, V(external) what others saw.
        type: str
        choices: [self, external]
        required: true
      probe: {description: What was tried in words., type: str, required: true}
      expected: {description: What should happen., type: str, required: true}
      observed: {description: What happened., type: str, required: true}
      holds: {description: Whether the observation meets the expectation., type: bool, required: true}
      denial: {description: Whether the expectation is a refusal., type: bool, default: false}
      positive_control: {description: Where the same thing was seen to work in this run., type: str}
      waiver:
        description: Consent of the owner to what does not hold.
        type: dict
        suboptions:
          reason: {description: Why., type: str, required: true}
          until: {description: Last day of it as C(YYYY-MM-DD)., type: str, required: true}
"""

EXAMPLES = r"""
- name: Record a refusal
  homelab.airlock.evidence:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"
    records:
      - control: NET-03
        vantage: self
        probe: tcp 198.18.50.10:80 as root
        expected: refused
        observed: "refused: EHOSTUNREACH"
        holds: true
        denial: true
        positive_control: reached from client
  delegate_to: localhost
  become: false
"""

RETURN = r"""
summary:
  description: Verdicts counted by host.
  returned: when O(state=collected)
  type: dict
"""

import os
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import evidence
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "site_dir": {"type": "path", "required": True},
            "state": {
                "type": "str",
                "choices": ["started", "appended", "collected"],
                "default": "appended",
            },
            "host": {"type": "str"},
            "records": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "control": text,
                    "vantage": {"type": "str", "choices": ["self", "external"], "required": True},
                    "probe": text,
                    "expected": text,
                    "observed": text,
                    "holds": {"type": "bool", "required": True},
                    "denial": {"type": "bool", "default": False},
                    "positive_control": {"type": "str"},
                    "waiver": {"type": "dict", "options": {"reason": text, "until": text}},
                },
            },
        },
        required_if=[("state", "appended", ["host"])],
        supports_check_mode=True,
    )
    wanted = module.params
    directory = os.path.join(wanted["site_dir"], "evidence")
    when = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if module.check_mode:
        module.exit_json(changed=True)
    result = {}
    try:
        if wanted["state"] == "started":
            evidence.start(directory)
        elif wanted["state"] == "appended":
            evidence.append(directory, wanted["host"], wanted["records"], when)
        else:
            result["summary"] = evidence.collect(directory, when)
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
