# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: vlan_plan
short_description: Check the wanted network of a host and turn it into files and commands
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Checks the variables of the role C(vlan) by themselves and against the host, decides which network manager gets the
    files, and says which commands put them in force and which take them back.
options:
  _input:
    description:
      - A dictionary with C(mode), C(id), C(parent), C(interface), C(addresses), C(gateways) and C(waiver), each of them
        the variable with C(vlan_) before its name; or null for a host that gets none of it.
    type: dict
    required: true
  seen:
    description: What M(homelab.airlock.network_survey) returned as C(network).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse a network that cannot be
  ansible.builtin.fail:
    msg: "{{ (intent | homelab.airlock.vlan_plan(survey.network)).findings | join('\n') }}"
  vars:
    intent:
      mode: trunk
      id: 30
      parent: eth0
      interface: ai30
      addresses: [192.0.2.10/24, "2001:db8::10/64"]
      gateways: []
      waiver: {}
"""

RETURN = r"""
_value:
  description:
    - C(findings) are sentences on what is wrong; if there are any, the rest is empty.
    - C(owner) is the network manager, C(files) and C(directories) are for M(homelab.airlock.managed_files), C(because),
      C(apply), C(revert) and C(revert_boot) for M(homelab.airlock.commit_confirm).
    - C(networks) are those of the addresses.
    - C(missing) and C(excess) say how the host differs from what is wanted, as far as it is there already.
  type: dict
"""

import datetime
from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import vlan, vlan_plan
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_NOTHING: dict[str, Any] = {
    "findings": [],
    "owner": "",
    "files": [],
    "directories": [],
    "because": [],
    "apply": [],
    "revert": [],
    "revert_boot": [],
    "networks": [],
    "missing": [],
    "excess": {},
}


def plan(intent: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    if findings := vlan.check(intent, today) if intent else []:
        return {**_NOTHING, "findings": findings}
    if not intent or intent["mode"] == "none":
        return {**_NOTHING, **vlan_plan.plan(None, seen)}
    network = vlan.Network.of(intent)
    if findings := vlan.check_host(network, seen):
        return {**_NOTHING, "findings": findings}
    try:
        found = vlan_plan.plan(network, seen)
    except AirlockError as exc:
        return {**_NOTHING, "findings": [str(exc)]}
    return {
        **_NOTHING,
        **found,
        "networks": list(dict.fromkeys(str(address.network) for address in network.addresses)),
        "missing": vlan_plan.missing(network, seen),
        "excess": vlan_plan.excess(network, seen),
    }


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"vlan_plan": plan}
