#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Look at a whole host in one execution
version_added: 0.1.0
description:
  - Collects packages, units, files, the digest of the ruleset, accounts, models and kernel settings as one value that
    is the same for two hosts made from the same intent. It changes nothing.
  - The content of files that others may not read is not hashed; only their presence, mode and owner are recorded.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: N/A, details: It changes nothing.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  exclude:
    description: Paths to leave out of the files, besides those that change on every healthy host.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Glob pattern of the path., type: str, required: true}
      reason: {description: Why it is left out; the lock carries it., type: str, required: true}
"""

EXAMPLES = r"""
- name: Look at the host
  homelab.airlock.host_state:
    exclude:
      - {path: /etc/cups/printers.conf, reason: written by the print server}
  register: __lock_seen
"""

RETURN = r"""
accepted:
  description:
    - The lock that the host accepted last, with C(digest), C(key), C(lineage) and C(serial); none when there was none.
    - C(digest) is none when that was before the digest was kept.
  returned: always
  type: dict
observation:
  description:
    - C(state) is what is compared and hashed, by area; C(kernel) is the running kernel; C(coverage) says what an equal
      state does not cover, and why.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import lock_memory, state_host
from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "exclude": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "reason": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )

    exclude = {entry["path"]: entry["reason"] for entry in module.params["exclude"]}
    try:
        accepted = lock_memory.read()
        observation = state_host.observe(runner(module), exclude=exclude)
    except PermissionError as exc:
        module.fail_json(
            msg=f"{exc.filename}: permission denied: the look at a host needs root; set become: true on the play."
        )
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=False,
        observation=observation,
        accepted=accepted.document() if accepted else None,
    )


if __name__ == "__main__":
    main()
