#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_survey
short_description: Look who manages the network of a host
version_added: 0.1.0
description:
  - Lists the interfaces of a host with their addresses, default routes and kernel settings, and which of
    systemd-networkd, netplan, NetworkManager and ifupdown configures each of them by which file.
  - Changes nothing.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options: {}
"""

EXAMPLES = r"""
- name: Look who manages the network
  homelab.airlock.network_survey:
  register: survey
"""

RETURN = r"""
network:
  description: What there is.
  returned: always
  type: dict
  contains:
    interfaces:
      description:
        - All but C(lo), each with C(name), C(kind) (empty for a port), C(parent) and C(id) of a VLAN, C(up), C(wifi),
          C(addresses), C(gateways) of default routes, and C(settings) of the kernel as they are in force.
      type: list
      elements: dict
    active:
      description: Network managers that run or have files.
      type: list
      elements: str
    claims:
      description:
        - By manager, each link that it configures and the file that says so; for netplan its own name for the link.
      type: dict
    interfaces_d:
      description: Whether ifupdown reads C(/etc/network/interfaces.d/airlock).
      type: bool
    cloud_init:
      description: Whether cloud-init is there, which may write the files of the network anew.
      type: bool
    former:
      description: What the role C(vlan) has made, with C(interface), C(mode), C(owner) and C(parent), or null.
      type: dict
    forward_policy:
      description: Policy of the chain C(forward) of the table C(inet airlock), empty without it.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import vlan_survey
from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        network = vlan_survey.survey(runner(module))
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, network=network)


if __name__ == "__main__":
    main()
