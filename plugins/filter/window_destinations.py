# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: window_destinations
short_description: Decide what a maintenance window opens, and resolve it
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Holds what the package sources of a host name against what the owner allows, and resolves the names on the
    controller, because the host has no resolver.
  - A source that the owner does not allow is refused. A name must resolve to public addresses; an address of the house
    opens only where the owner wrote it down.
options:
  _input:
    description: What M(homelab.airlock.egress_window) returned as C(sources).
    type: list
    elements: dict
    required: true
  mirrors:
    description: What the owner allows, each a host name or a dictionary with C(name), C(address) and C(port).
    type: list
    elements: raw
    required: true
  wanted:
    description: What the owner asks for this time instead, in the same form. Nothing else is opened then.
    type: list
    elements: raw
    default: []
"""

EXAMPLES = r"""
- name: Say what would open
  ansible.builtin.debug:
    msg: "{{ seen.sources | homelab.airlock.window_destinations(['deb.debian.org', 'security.debian.org']) }}"
# -> {"destinations": [{"name": "deb.debian.org", "address": "192.0.2.80", "port": 80}], "refusal": ""}
"""

RETURN = r"""
_value:
  description:
    - C(destinations), dictionaries with C(name), C(address) and C(port) as M(homelab.airlock.egress_window) takes them,
      and C(refusal), a sentence, empty where all is well.
  type: dict
"""

import socket
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import windows
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def resolve(name: str) -> list[str]:
    """Return the addresses of a name as this machine has them (getaddrinfo(3)), none without."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(answer[4][0]) for answer in answers})


def window_destinations(
    sources: list[dict[str, Any]], mirrors: Any, wanted: Any = None
) -> dict[str, Any]:
    try:
        planned = windows.plan(sources, mirrors, wanted, resolve)
    except AirlockError as exc:
        return {"destinations": [], "refusal": str(exc)}
    return {"destinations": [entry.as_dict() for entry in planned], "refusal": ""}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"window_destinations": window_destinations}
