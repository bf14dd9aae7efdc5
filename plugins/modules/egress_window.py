#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_window
short_description: Open, close and list the maintenance window of a host
version_added: 0.1.0
description:
  - In a window the package manager of the host (user C(_apt)), and nobody else, reaches the given addresses. The kernel
    closes it when the time is over, and a timer on the host takes the names out of its hosts file, with or without a
    controller.
  - The rules of the role C(egress) must be loaded. At most one window is open; opening another closes the one before.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent:
    support: full
    details: [The very same window is not opened twice and not made longer.]
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  state:
    description: V(listed) changes nothing, and also returns what the package sources of the host name.
    type: str
    choices: [listed, open, closed]
    default: listed
  destinations:
    description:
      - What opens. The host resolves no names, so the controller does; the filter
        P(homelab.airlock.window_destinations#filter) makes this list.
      - Required with O(state=open).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name as the package sources have it, or the address.
        type: str
        required: true
      address:
        description: Literal IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
  minutes:
    description: How long it stays open at most, 1 to 240.
    type: int
    default: 30
  reason:
    description: Why. Required with O(state=open).
    type: str
    default: ""
  root:
    description: Directory below which C(etc/apt), C(etc/hosts) and C(run/airlock) lie.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Open a window
  homelab.airlock.egress_window:
    state: open
    destinations:
      - {name: mirror.example.org, address: 192.0.2.80, port: 443}
    minutes: 20
    reason: openssl, this week's update

- name: Close it before its time is over
  homelab.airlock.egress_window:
    state: closed
"""

RETURN = r"""
reasons:
  description: What was opened or closed, one sentence each.
  returned: always
  type: list
  elements: str
elements:
  description: What the kernel lets the package manager reach now, C(address . tcp . port).
  returned: always
  type: list
  elements: str
pinned:
  description: Whether names of a window are in the hosts file.
  returned: always
  type: bool
window:
  description:
    - The window, or null. With O(state=closed) the one that ended, with C(ended) (V(closed) or V(deadline)), C(closed)
      (seconds since 1970), C(bytes_in) and C(bytes_out); it is returned once and then forgotten.
  returned: always
  type: dict
previous:
  description: With O(state=open) an earlier window that nobody had closed from here, as with O(state=closed), or null.
  returned: always
  type: dict
sources:
  description: What the package sources of the host name, each with C(name), C(port) and C(where). Hostile input.
  returned: with O(state=listed)
  type: list
  elements: dict
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import windows, windows_sources
from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.windows_host import Host


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["listed", "open", "closed"], "default": "listed"},
            "destinations": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": text,
                    "address": text,
                    "port": {"type": "int", "required": True},
                },
            },
            "minutes": {"type": "int", "default": 30},
            "reason": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/"},
        },
        required_if=[("state", "open", ["destinations", "reason"])],
        supports_check_mode=True,
    )
    host = Host(runner(module), module.params["root"])
    act = {"listed": _list, "open": _open, "closed": _close}[module.params["state"]]
    try:
        before = host.elements()
        result = act(module, host)
        after = host.elements()
        pinned = host.pinned()
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=bool(result["reasons"]),
        elements=after,
        pinned=pinned,
        diff={"before": _lines(before), "after": _lines(result.pop("predicted", after))},
        **result,
    )


def _list(module: AnsibleModule, host: Host) -> dict[str, Any]:
    sources = [asdict(source) for source in windows_sources.read(module.params["root"])]
    return {"reasons": [], "window": host.window(), "previous": None, "sources": sources}


def _open(module: AnsibleModule, host: Host) -> dict[str, Any]:
    reason = module.params["reason"]
    minutes = windows.check_request(reason, module.params["minutes"])
    wanted = windows.destinations(module.params["destinations"])
    if host.matches(wanted, minutes, reason):
        return {"reasons": [], "window": host.window(), "previous": None}
    reasons = [f"{entry.name} ({entry.element()}): open for {minutes} min" for entry in wanted]
    predicted = sorted({entry.element() for entry in wanted})
    if module.check_mode:
        return {
            "reasons": reasons,
            "window": None,
            "previous": host.window(),
            "predicted": predicted,
        }
    now = int(time.time())
    host.close(now)
    previous = host.window()
    host.forget()
    window = host.open(wanted, minutes, reason, now)
    return {"reasons": reasons, "window": window, "previous": previous}


def _close(module: AnsibleModule, host: Host) -> dict[str, Any]:
    if module.check_mode:
        is_open = bool(host.elements()) or host.pinned()
        reasons = ["The window would be closed."] if is_open else []
        return {"reasons": reasons, "window": host.window(), "previous": None, "predicted": []}
    reasons = ["The window was closed."] if host.close(int(time.time())) else []
    window = host.window()
    host.forget()
    return {"reasons": reasons, "window": window, "previous": None}


def _lines(elements: list[str]) -> str:
    return "".join(f"{element}\n" for element in elements)


if __name__ == "__main__":
    main()
