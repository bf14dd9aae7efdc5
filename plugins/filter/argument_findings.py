# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: argument_findings
short_description: Find what roles could not use, before any of them is reached
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Checks the variables of roles against their argument specifications, and that no role is to be absent that one which
    is present cannot do without.
options:
  _input:
    description: The variables of the roles that are set, by name.
    type: dict
    required: true
  roles:
    description: Roles of this collection to check.
    type: list
    elements: str
    required: true
  needs:
    description: By role, the roles that it cannot do without.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse values that no role could use
  ansible.builtin.fail:
    msg: "{{ findings | join('\n') }}"
  vars:
    findings: "{{ {'pki_leaf_days': 'many'} | homelab.airlock.argument_findings(['pki'], {'gateway': ['pki']}) }}"
  when: findings | length > 0
"""

RETURN = r"""
_value:
  description: Sentences, none when all is well.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.homelab.airlock.plugins.plugin_utils import arguments
from ansible_collections.homelab.airlock.plugins.plugin_utils import roles as known


def argument_findings(
    values: dict[str, Any], roles: list[str], needs: dict[str, list[str]]
) -> list[str]:
    states = {role: values.get(f"{role}_state", "present") for role in roles}
    return [
        *(finding for role in roles for finding in arguments.findings(known.options(role), values)),
        *known.removals(states, needs),
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"argument_findings": argument_findings}
