#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install the Debian packages of a role and remember what came with them
version_added: 0.1.0
description:
  - Installs what is missing, without recommended packages, and records exactly the packages that came, dependencies
    included. O(state=absent) purges those and no others.
  - M(ansible.builtin.apt) cannot tell afterwards which packages were there before, and its autoremove takes along what
    the owner of the host left there.
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
  names:
    description: Packages that must be there. What is installed already is left at its version.
    type: list
    elements: str
    default: []
  optional:
    description: Packages that must be there where a package source of the host has them.
    type: list
    elements: str
    default: []
  versions:
    description:
      - Versions to install, for these packages and for what they bring, where named. A rebuild takes them from the
        lock.
    type: dict
    default: {}
  mask:
    description: Units that must not start with their package; masked only where something had to be installed.
    type: list
    elements: str
    default: []
  state:
    description: V(absent) purges what the record holds for O(role).
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Install the edge proxy without starting the service of the distribution
  homelab.airlock.packages:
    role: gateway
    names: [haproxy, python3-aiohttp]
    mask: [haproxy.service]
"""

RETURN = r"""
reasons:
  description: One sentence for each package that came or went.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import packages
from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record

_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "optional": {"type": "list", "elements": "str", "default": []},
            "versions": {"type": "dict", "default": {}},
            "mask": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    check = module.check_mode

    module.run_command_environ_update = _ENVIRONMENT
    run = runner(module)

    record = None
    try:
        record = Record.load()
        if wanted["state"] == "absent":
            reasons = packages.remove(wanted["role"], record, run, check=check)
        else:
            reasons = packages.install(
                wanted["role"],
                wanted["names"],
                record,
                run,
                versions=wanted["versions"],
                mask=wanted["mask"],
                optional=wanted["optional"],
                check=check,
            )
    except (AirlockError, OSError) as exc:
        if record is not None and not check:
            record.save()
        module.fail_json(msg=str(exc))
    if reasons and not check:
        record.save()
    module.exit_json(changed=bool(reasons), reasons=reasons)


if __name__ == "__main__":
    main()
