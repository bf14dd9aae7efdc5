# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: intent_findings
short_description: Find what is misspelled, impossible or contradicts itself in the intent
version_added: 0.1.0
author: homelab.airlock contributors (@homelab-airlock)
description:
  - Checks the shared inputs against each other and the names of variables against the argument specifications of the
    roles.
options:
  _input:
    description: The shared inputs, by name without C(airlock_).
    type: dict
    required: true
  names:
    description: Names of the variables that are set.
    type: list
    elements: str
    required: true
  roles:
    description: Roles of this collection whose variables exist.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse bad intent
  ansible.builtin.fail:
    msg: "{{ findings | join('\n') }}"
  vars:
    findings: >-
      {{ inputs | homelab.airlock.intent_findings(query('ansible.builtin.varnames', '^airlock_'), ['preflight']) }}
  when: findings | length > 0
"""

RETURN = r"""
_value:
  description: Sentences, none when all is well.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import intent, manifests
from ansible_collections.homelab.airlock.plugins.plugin_utils import roles as known
from ansible_collections.homelab.airlock.plugins.plugin_utils import site


def intent_findings(inputs: dict[str, Any], names: list[str], roles: list[str]) -> list[str]:
    return [
        *intent.unknown_names(
            names,
            [name for role in roles for name in known.variables(role)],
            strict_prefix="airlock_",
        ),
        *intent.check(inputs),
        *manifests.validate_catalog(inputs["models"]),
        *site.check(inputs["site_dir"]),
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"intent_findings": intent_findings}
