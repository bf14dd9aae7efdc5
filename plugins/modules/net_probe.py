#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: net_probe
short_description: Try what may and what may not be reached, as given users and inside given units and containers
version_added: 0.1.0
description:
  - Tries any number of connections in parallel in one execution and says how each ended.
  - Each probe runs in a process of its own, which takes the user, and with O(probes[].unit) or O(probes[].container)
    enters the network and mount namespaces of its main process. Nothing has to be installed inside.
  - Filters on system calls and addresses that the unit or container has on top do not apply to a probe, and it keeps
    the capabilities of its user; what is refused here is refused by the namespaces and the packet filter alone.
  - Does not fail on what it finds; RV(results[].holds) is for the caller to judge.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: The probes run, for they change nothing.
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  probes:
    description: What to try.
    type: list
    elements: dict
    required: true
    suboptions:
      id: {description: Name of the probe., type: str, required: true}
      kind:
        description:
          - V(tcp) connects. V(udp) sends a datagram to something that echoes. V(dns) asks for an address over UDP.
            V(icmp) sends an echo request. V(unix) connects to a socket of any type.
          - V(resolve) asks a resolver for a name that nobody asked for before; it reaches its aim when an address comes
            back, for which the resolver must have asked another.
          - V(tcp_held) and V(udp_held) open one flow to something that echoes and use it until the time is over; they
            reach their aim when answers still come at the end.
          - V(raw) sends a datagram with a UDP header made by hand to something that echoes, past every UDP socket.
          - V(write) opens a file, or a nameless one in a directory, for writing, and writes nothing.
          - V(interfaces) reaches its aim when there is an interface other than lo.
          - V(listen) listens on a TCP port until a second after somebody connected, or until the time is over;
            V(reached) means that somebody did.
        type: str
        choices: [tcp, udp, dns, resolve, tcp_held, udp_held, raw, listen, icmp, unix, write, interfaces]
        required: true
      expect:
        description: V(refused) is also met by a timeout.
        type: str
        choices: [refused, reached]
        required: true
      user:
        description: User to be, with all of its groups. The module's own user (root under become) when empty.
        type: str
        default: ""
      unit:
        description: Unit to be inside. Nothing is entered when empty.
        type: str
        default: ""
      container:
        description: Container of Docker or of root's Podman to be inside, by its name. Excludes O(probes[].unit).
        type: str
        default: ""
      address: {description: Literal IPv4 or IPv6 address., type: str, default: ""}
      interface:
        description: Interface that a link-local O(probes[].address) is on.
        type: str
        default: ""
      port: {description: Port., type: int, default: 0}
      source_port: {description: Own port. Any when 0., type: int, default: 0}
      size: {description: Bytes to carry. A few when 0., type: int, default: 0}
      path: {description: Path of a socket., type: str, default: ""}
  timeout:
    description: Seconds for each probe.
    type: float
    default: 2.0
"""

EXAMPLES = r"""
- name: Try to get out of a unit
  homelab.airlock.net_probe:
    probes:
      - id: rt-tcp4
        user: airlock-r00
        unit: airlock-runtime@chat-1a2b3c4d.service
        kind: tcp
        address: 198.18.50.10
        port: 80
        expect: refused
      - {id: web-dns, container: web, kind: resolve, address: 127.0.0.11, port: 53, expect: refused}
      - id: rt-bus
        unit: airlock-runtime@chat-1a2b3c4d.service
        kind: unix
        path: /run/dbus/system_bus_socket
        expect: refused
  register: probed
"""

RETURN = r"""
results:
  description: Every probe with what it was given, and how it ended.
  returned: always
  type: list
  elements: dict
  contains:
    outcome:
      description: V(reached), V(refused), V(timeout), or V(error) when it could not be tried.
      type: str
    errno: {description: Symbol of the error or null., type: str}
    ms: {description: Milliseconds that it took., type: int}
    detail: {description: A few words more., type: str}
    source: {description: Own address that was used., type: str}
    holds: {description: Whether the expectation was met., type: bool}
counters:
  description:
    - Packets that the named counters of table inet airlock had seen C(before) and C(after), null without the table,
      and by how many each C(rose).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import (
    commands,
    nft_table,
    probes,
    probes_run,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    text = {"type": "str", "default": ""}
    number = {"type": "int", "default": 0}
    module = AnsibleModule(
        argument_spec={
            "probes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "id": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": list(probes.NEEDS), "required": True},
                    "expect": {"type": "str", "choices": ["refused", "reached"], "required": True},
                    "user": text,
                    "unit": text,
                    "container": text,
                    "address": text,
                    "interface": text,
                    "port": number,
                    "source_port": number,
                    "size": number,
                    "path": text,
                },
            },
            "timeout": {"type": "float", "default": 2.0},
        },
        supports_check_mode=True,
    )
    run = commands.runner(module)
    try:
        wanted = [probes.parse(entry, index) for index, entry in enumerate(module.params["probes"])]
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    before = nft_table.counters(run)
    outcomes = probes_run.run_all(wanted, module.params["timeout"], run)
    after = nft_table.counters(run)
    module.exit_json(
        changed=False,
        results=[
            probes.result(probe, outcome) for probe, outcome in zip(wanted, outcomes, strict=True)
        ],
        counters={"before": before, "after": after, "rose": nft_table.rose(before, after)},
    )


if __name__ == "__main__":
    main()
