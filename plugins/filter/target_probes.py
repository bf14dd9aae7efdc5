# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: target_probes
short_description: Spell out the probes towards hosts outside
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns a probe for each user, address and service of the targets, for M(homelab.airlock.net_probe).
  - Every address is also sent an ICMP echo.
options:
  _input:
    description: Targets in the form of C(airlock_probe_targets).
    type: list
    elements: dict
    required: true
  users:
    description: Users to try it as; an empty name is the module's own user.
    type: list
    elements: str
    default: [""]
  unit:
    description: Unit to be inside.
    type: str
    default: ""
  expect:
    description: What should happen.
    type: str
    choices: [refused, reached]
    default: refused
"""

EXAMPLES = r"""
- name: Try to get out as root and as an ordinary user
  homelab.airlock.net_probe:
    probes: "{{ airlock_probe_targets | homelab.airlock.target_probes(users=['root', 'nobody']) }}"
"""

RETURN = r"""
_value:
  description: Probes.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import probes


def target_probes(
    targets: Sequence[Mapping[str, Any]],
    users: Sequence[str] = ("",),
    unit: str = "",
    expect: str = "refused",
) -> list[dict[str, Any]]:
    return probes.for_targets(targets, users=users, unit=unit, expect=expect)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"target_probes": target_probes}
