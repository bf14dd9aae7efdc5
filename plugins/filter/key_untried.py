# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: key_untried
short_description: Say which bounds of a site's keys nobody tried
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns a record for M(homelab.airlock.evidence) for each key with hours, networks, a certificate or so few requests
    a minute that P(homelab.airlock.key_requests#filter) cannot try them. Such a record is C(unproven).
positional: control
options:
  _input:
    description: Keys by id, as in C(airlock_api_keys).
    type: dict
    required: true
  control:
    description: Id of the control.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Leave no silence
  homelab.airlock.evidence:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"
    records: "{{ airlock_api_keys | homelab.airlock.key_untried('KEY-01') }}"
"""

RETURN = r"""
_value:
  description: Records.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import key_probes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def key_untried(keys: Any, control: str) -> list[dict[str, Any]]:
    """Return what is not tried with ``keys``."""
    try:
        return key_probes.untried(keys, control)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role gateway."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"key_untried": key_untried}
