# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: egress_admitted
short_description: Pick the peers that the rules of the role egress admit
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns those of the addresses that may open a port of the host.
options:
  _input:
    description: Addresses of peers.
    type: list
    elements: str
    required: true
  intent:
    description: Intent in the form of P(homelab.airlock.egress_policy#filter).
    type: dict
    required: true
  protocol:
    description: Protocol of the port.
    type: str
    choices: [tcp, udp]
    required: true
  port:
    description: Port of the host.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: See which of these may use SSH
  ansible.builtin.debug:
    msg: "{{ ['192.0.2.77', '192.0.2.10'] | homelab.airlock.egress_admitted(intent, 'tcp', 22) }}"
"""

RETURN = r"""
_value:
  description: Addresses that are admitted.
  type: list
  elements: str
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import nft_policy


def egress_admitted(
    addresses: Iterable[str], intent: Mapping[str, Any], protocol: str, port: int
) -> list[str]:
    policy = nft_policy.build(intent)
    return [text for text in addresses if policy.admits(protocol, port, ipaddress.ip_address(text))]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"egress_admitted": egress_admitted}
