# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: towards
short_description: Spell out probes for every address of a host
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns each probe once for each address, with the address in C(address) and at the end of C(id).
options:
  _input:
    description: Probes for M(homelab.airlock.net_probe), without address.
    type: list
    elements: dict
    required: true
  addresses:
    description: Addresses to try.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Try SSH over both families
  homelab.airlock.net_probe:
    probes: >-
      {{ [{'id': 'ssh', 'kind': 'tcp', 'port': 22, 'expect': 'refused'}]
         | homelab.airlock.towards(['192.0.2.10', '2001:db8::10']) }}
"""

RETURN = r"""
_value:
  description: Probes.
  type: list
  elements: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any


def towards(probes: Iterable[Mapping[str, Any]], addresses: list[str]) -> list[dict[str, Any]]:
    return [
        {**probe, "id": f"{probe['id']}/{address}", "address": address}
        for probe in probes
        for address in addresses
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"towards": towards}
