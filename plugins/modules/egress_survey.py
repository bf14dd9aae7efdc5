#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_survey
short_description: List what the rules of the role egress would cut on a host
version_added: 0.1.0
description:
  - Reads, in one execution, every listener, open inbound connection, bridge, tunnel, DHCP lease and container of a
    host and compares them with what the rules will admit.
  - Also compares where this very connection comes from with the networks that may administer the host.
  - Changes nothing, needs nothing installed, and does not fail on what it finds; the role refuses.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  policy:
    description: What the rules will admit.
    type: dict
    required: true
    suboptions:
      admin_networks: {description: Networks that may open SSH., type: list, elements: str, required: true}
      client_networks:
        description: Networks that may open O(policy.gateway_port).
        type: list
        elements: str
        default: []
      ssh_port: {description: Port of the SSH server., type: int, default: 22}
      gateway_port: {description: Port of the gateway., type: int, default: 8443}
      allow: {description: What the host may open., type: list, elements: dict, default: []}
      allow_inbound: {description: What peers may open., type: list, elements: dict, default: []}
      allow_containers: {description: What containers may open., type: list, elements: dict, default: []}
      apt_proxy: {description: Package proxy as C(http://ADDRESS:PORT)., type: str, default: ""}
      displace:
        description: Names of things that may be cut, as RV(cuts) names them.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: See what the rules would cut
  homelab.airlock.egress_survey:
    policy:
      admin_networks: [192.0.2.10/32]
      client_networks: [192.0.2.0/24]
      displace: ["bridge:docker0"]
  register: survey
"""

RETURN = r"""
cuts:
  description: What the rules would cut, consented to or not, each with C(name), C(consented) and C(sentence).
  returned: always
  type: list
  elements: dict
refusals:
  description: One sentence for each thing that stands in the way, with what to do about it.
  returned: always
  type: list
  elements: str
uids:
  description: Number of each account that O(policy.allow) names.
  returned: always
  type: dict
bridges:
  description: Bridges, allowed or displaced, whose containers may go on talking to each other.
  returned: always
  type: list
  elements: str
controller:
  description:
    - Where this connection comes from, as C(address) and C(port), and which C(server_address) and C(server_port) it
      reached. A connection that is new has another port.
    - Null when it is not over SSH.
  returned: always
  type: dict
"""

import os
import pwd

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import (
    commands,
    links,
    listeners,
    nft_policy,
    survey_listeners,
    survey_network,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    networks = {"type": "list", "elements": "str"}
    entries = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "policy": {
                "type": "dict",
                "required": True,
                "options": {
                    "admin_networks": {**networks, "required": True},
                    "client_networks": {**networks, "default": []},
                    "ssh_port": {"type": "int", "default": 22},
                    "gateway_port": {"type": "int", "default": 8443},
                    "allow": entries,
                    "allow_inbound": entries,
                    "allow_containers": entries,
                    "apt_proxy": {"type": "str", "default": ""},
                    "displace": {"type": "list", "elements": "str", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )

    try:
        policy = nft_policy.build(module.params["policy"])
        run = commands.runner(module)
        found_links = links.links(run)
        found = listeners.cuts(
            policy,
            listeners.Facts(
                listeners=survey_listeners.listeners(),
                containers=survey_network.containers(),
                flows=listeners.flows(),
                links=found_links,
                foreign_links=links.foreign_links(run),
                firewalls=survey_network.firewalls(),
            ),
        )
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    controller = _controller()
    uids, refusals = _uids(policy.accounts())
    if controller:
        refusals += listeners.way_in(policy, controller["address"], controller["server_port"])
    refusals += [cut.sentence for cut in found if cut.name not in policy.displaced]
    module.exit_json(
        changed=False,
        refusals=refusals,
        controller=controller,
        uids=uids,
        bridges=sorted(set(policy.bridges()) - links.wired_bridges(found_links)),
        cuts=[
            {
                "name": cut.name,
                "consented": cut.name in policy.displaced,
                "sentence": cut.sentence,
            }
            for cut in found
        ],
    )


def _uids(accounts: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the number of each account of this host, and a refusal for each that it does not have."""
    uids, refusals = {}, []
    for account in accounts:
        try:
            uids[account] = pwd.getpwnam(account).pw_uid
        except KeyError:
            refusals.append(
                f"egress_allow names the user {account}, and this host has no such account; install what "
                f"brings it first, or write the number that it will have."
            )
    return uids, refusals


def _controller() -> dict[str, object] | None:
    """Return SSH_CONNECTION (ssh(1)) of the nearest ancestor that has it: sudo takes it away from us."""
    pid = os.getpid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/environ", "rb") as handle:
                variables = handle.read().split(b"\0")
            with open(f"/proc/{pid}/stat", "rb") as handle:
                # The name in parentheses may hold anything, also parentheses (proc_pid_stat(5)).
                pid = int(handle.read().rpartition(b")")[2].split()[1])
        except OSError:
            return None
        for variable in variables:
            name, _separator, value = variable.decode("utf-8", "replace").partition("=")
            words = value.split()
            if name == "SSH_CONNECTION" and len(words) == 4:
                return {
                    "address": words[0],
                    "port": int(words[1]),
                    "server_address": words[2],
                    "server_port": int(words[3]),
                }
    return None


if __name__ == "__main__":
    main()
