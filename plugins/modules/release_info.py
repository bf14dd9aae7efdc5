#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell which releases the services of a host have in their slots
version_added: 0.1.0
description:
  - Reads the slots, and says which user each release has that they point to and for which services another release
    stands in.
  - Changes nothing. A host without slots has no services.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none, details: There is nothing to compare.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  kept_files:
    description:
      - Model files that stay when everything else is pruned from the store. The module fails when a release that a slot
        points to needs another one.
    type: list
    elements: path
  slots:
    description: The file that the gatekeeper follows.
    type: path
    default: /etc/airlock/gateway/slots.json
"""

EXAMPLES = r"""
- name: Look what answers
  homelab.airlock.release_info:
  register: releases

- name: Refuse to prune what a slot needs
  homelab.airlock.release_info:
    kept_files: "{{ models | map(attribute='pushes') | flatten | map(attribute='dest') }}"
"""

RETURN = r"""
services:
  description: Services by name, each with C(current), C(previous), C(fallback), C(canary), C(mode) and C(standin).
  returned: success
  type: dict
users:
  description: Release to the index of its user, for every release that a slot points to.
  returned: success
  type: dict
running:
  description:
    - The releases that answer, in the form of P(homelab.airlock.releases#filter), each with C(service), C(release),
      C(user), C(artifact) and C(config).
  returned: success
  type: list
  elements: dict
traces:
  description: Units, paths and names in the store of every release that a slot points to.
  returned: success
  type: list
  elements: str
standins:
  description:
    - Services that are not answered by their current release, each with C(service), C(current), C(release) that
      answers, its C(slot), C(because), and all of it as a C(sentence).
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import (
    releases_placed,
    releases_slots,
    state_releases,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kept_files": {"type": "list", "elements": "path"},
            "slots": {"type": "path", "default": releases_slots.PATH},
        },
        supports_check_mode=True,
    )
    try:
        slots = releases_slots.load(module.params["slots"])
        if module.params["kept_files"] is not None:
            releases_placed.refuse_to_remove(slots, module.params["kept_files"])
        users = releases_placed.users(slots)
        running = releases_placed.running(slots)
        traces = state_releases.traces(slots)
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=False,
        services=slots,
        users=users,
        running=running,
        traces=traces,
        standins=releases_placed.standins(slots),
    )


if __name__ == "__main__":
    main()
