# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: role_variables
short_description: Name the variables of a role
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns the names that the argument specification of a role of this collection declares.
options:
  _input:
    description: Name of the role.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the shared inputs
  ansible.builtin.debug:
    msg: "{{ 'preflight' | homelab.airlock.role_variables }}"
"""

RETURN = r"""
_value:
  description: Names.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.homelab.airlock.plugins.plugin_utils import roles


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"role_variables": roles.variables}
