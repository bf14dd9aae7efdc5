# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_findings
short_description: Find why a machine cannot become the inference host
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Checks the operating system, that the way in of the controller stays open, and that the static uids are free.
options:
  _input:
    description: Facts of the host, with C(distribution), C(env) and C(getent_passwd).
    type: dict
    required: true
  systems:
    description: Versions that are supported, by distribution.
    type: dict
    required: true
  admin_networks:
    description: Networks from which the host may be administered.
    type: list
    elements: str
    required: true
  first_uid:
    description: First of the static uids; without it, the one that the role baseline has by default.
    type: int
"""

EXAMPLES = r"""
- name: Refuse a machine that does not fit
  ansible.builtin.fail:
    msg: "{{ findings | join('\n') }}"
  vars:
    findings: "{{ ansible_facts | homelab.airlock.host_findings({'Debian': ['13']}, ['192.168.10.0/24']) }}"
  when: findings | length > 0
"""

RETURN = r"""
_value:
  description: Sentences, none when all is well.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import accounts, intent


def host_findings(
    facts: dict[str, Any],
    systems: dict[str, list[str]],
    admin_networks: list[str],
    first_uid: int | str | None = None,
) -> list[str]:
    name = facts["distribution"]
    # Debian numbers its releases by the major version, Ubuntu by both parts.
    version = facts["distribution_major_version" if name == "Debian" else "distribution_version"]
    # sshd(8): the address of the client comes first; empty for a connection that is not SSH.
    client = (facts["env"].get("SSH_CONNECTION", "").split() or [""])[0]
    return [
        *intent.supported(name, str(version), systems),
        *intent.way_in(client, admin_networks),
        *intent.accounts(
            facts["getent_passwd"],
            accounts.FIRST_UID if first_uid is None else int(first_uid),
            accounts.NAMES,
        ),
    ]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"host_findings": host_findings}
