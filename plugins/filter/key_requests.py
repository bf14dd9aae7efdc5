# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: key_requests
short_description: Spell out what the keys of a site must get and must not get
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns requests for M(homelab.airlock.api_probe) that stay inside and go beyond the scope of each key.
  - Hours and networks are not looked at; P(homelab.airlock.key_untried#filter) has what is not tried.
positional: secrets, services, controls
options:
  _input:
    description: Keys by id, as in C(airlock_api_keys).
    type: dict
    required: true
  secrets:
    description: For each id a key of that scope, without hours and networks; ids that are not there are left out.
    type: dict
    required: true
  services:
    description: Services by name, as in C(airlock_services).
    type: dict
    required: true
  controls:
    description: Ids of the controls for C(scope), C(length) of answers and C(credential).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Try what every key may do
  homelab.airlock.api_probe:
    requests: >-
      {{ airlock_api_keys
         | homelab.airlock.key_requests(secrets, airlock_services,
                                        {'scope': 'KEY-01', 'length': 'KEY-02', 'credential': 'KEY-03'}) }}
"""

RETURN = r"""
_value:
  description: Requests.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import key_probes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def key_requests(keys: Any, secrets: Any, services: Any, controls: Any) -> list[dict[str, Any]]:
    """Return what is tried with ``keys``."""
    try:
        return key_probes.attempts(keys, secrets, services, controls)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role gateway."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"key_requests": key_requests}
