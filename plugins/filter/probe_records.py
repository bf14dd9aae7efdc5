# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: probe_records
short_description: Turn results of net_probe into evidence records
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns a record for each result of M(homelab.airlock.net_probe), as M(homelab.airlock.evidence) takes them.
  - The positive control of a denial is a result among O(controls) that was reached; O(match) says which.
options:
  _input:
    description: Results of M(homelab.airlock.net_probe).
    type: list
    elements: dict
    required: true
  control:
    description: Id of the control.
    type: str
    required: true
  vantage:
    description: What the host says about itself, or what others saw.
    type: str
    choices: [self, external]
    required: true
  controls:
    description: Results that may show that a destination can be reached.
    type: list
    elements: dict
    default: []
  seen_from:
    description: Where O(controls) were tried.
    type: str
    default: elsewhere
  match:
    description:
      - V(destination) takes a result of the same kind, address and port (or path), V(probe) one of the same C(id), for
        the same attempts made once more without what denies them.
    type: str
    choices: [destination, probe]
    default: destination
"""

EXAMPLES = r"""
- name: Record what was refused
  homelab.airlock.evidence:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"
    records: >-
      {{ probed.results | homelab.airlock.probe_records(control='NET-01', vantage='self',
                                                        controls=from_client.results, seen_from='client') }}
  delegate_to: localhost
  become: false
"""

RETURN = r"""
_value:
  description: Records.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import probes


def probe_records(
    results: Sequence[Mapping[str, Any]],
    control: str,
    vantage: str,
    controls: Sequence[Mapping[str, Any]] = (),
    seen_from: str = "elsewhere",
    match: str = "destination",
) -> list[dict[str, Any]]:
    return probes.records(
        results,
        control=control,
        vantage=vantage,
        controls=controls,
        seen_from=seen_from,
        match=match,
    )


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"probe_records": probe_records}
