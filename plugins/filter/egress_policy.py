# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: egress_policy
short_description: Check what may talk to a host and turn it into sets for nftables
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Checks the networks, ports and entries that the role C(egress) was given and returns the elements of its nftables
    sets.
  - Overlapping networks of the same service are merged.
options:
  _input:
    description:
      - A dictionary with C(admin_networks), C(client_networks), C(ssh_port), C(gateway_port), C(allow),
        C(allow_inbound), C(allow_containers), C(apt_proxy) and C(displace).
    type: dict
    required: true
  survey:
    description: What M(homelab.airlock.egress_survey) returned for the same intent.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what clients may open
  ansible.builtin.debug:
    msg: "{{ (intent | homelab.airlock.egress_policy(survey))['sets']['inbound4'] }}"
  vars:
    intent:
      admin_networks: [192.0.2.10/32]
      client_networks: [192.0.2.0/24]
      ssh_port: 22
      gateway_port: 8443
      allow: []
      allow_inbound: []
      allow_containers: []
      apt_proxy: ""
      displace: []
    survey: {uids: {}, bridges: []}
# -> ["192.0.2.0/24 . tcp . 8443"]
"""

RETURN = r"""
_value:
  description:
    - C(sets) maps C(admin4), C(known4), C(inbound4), C(outbound4), C(principal4), C(answers4) and the same with 6 to
      lists of elements.
    - C(passages) says what containers may open, C(bridges) which bridges their neighbours may use.
    - C(apt_proxy) is C(null) or holds C(address), C(port) and C(version).
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import nft_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def egress_policy(intent: Mapping[str, Any], survey: Mapping[str, Any]) -> dict[str, Any]:
    try:
        policy = nft_policy.build(intent)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc
    proxy = None
    if policy.apt_proxy:
        address, port = policy.apt_proxy
        proxy = {"address": str(address), "port": port, "version": address.version}
    return {
        "sets": policy.sets(survey["uids"]),
        "passages": policy.passages_by_source(),
        "bridges": survey["bridges"],
        "apt_proxy": proxy,
    }


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"egress_policy": egress_policy}
