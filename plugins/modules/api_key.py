#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Make, renew and remove the API keys of a site
version_added: 0.1.0
description:
  - Keeps a directory on the controller that holds exactly the wanted keys, each as C(<id>.key) (the key itself, for
    the person who uses it) and C(<id>.json) (its record with the SHA-256 of the secret).
  - A key that has expired is replaced, one that is no longer wanted is removed. Only records are returned, never a key.
  - Run it on the controller.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: The record that would be made for a new key is returned with a digest that is thrown away.
  diff_mode:
    support: none
    details: What it writes is secret; C(reasons) says what changed.
  idempotent:
    support: full
    details: Until a key expires.
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  directory:
    description: Directory of the keys; made with mode 0700.
    type: path
    required: true
  keys:
    description:
      - Wanted keys by id (1 to 32 small letters, digits and hyphens). Each has C(services), the names of the services
        that it opens, and C(expires_days), the number of days from its making until it expires, by default 30.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Keep the keys of the site
  homelab.airlock.api_key:
    directory: "{{ airlock_site_dir }}/secrets/keys"
    keys:
      alice: {services: [chat, embed], expires_days: 90}
      notebook: {services: [chat]}
  delegate_to: localhost
  become: false
  register: site_keys
"""

RETURN = r"""
records:
  description: Records of the wanted keys, sorted by id; fit for the gatekeeper's C(keys.json).
  returned: success
  type: list
  elements: dict
  sample:
    - id: alice
      sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      not_before: "2026-11-21T10:00:00Z"
      not_after: "2027-02-19T10:00:00Z"
      services: [chat, embed]
reasons:
  description: Why something changed, one sentence each.
  returned: success
  type: list
  elements: str
"""

import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import Wanted, converge
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_DEFAULT_DAYS = 30


def _wanted(keys: dict[str, t.Any]) -> dict[str, Wanted]:
    result = {}
    for key_id, entry in keys.items():
        if not isinstance(entry, dict) or not set(entry) <= {"services", "expires_days"}:
            raise AirlockError.refuse(
                "this is not an API key",
                expected="services and expires_days",
                where=f"keys.{key_id}",
            )
        services = entry.get("services")
        if (
            not isinstance(services, list)
            or not services
            or not all(isinstance(name, str) for name in services)
        ):
            raise AirlockError.refuse(
                "the key opens nothing",
                expected="a list of services",
                where=f"keys.{key_id}.services",
            )
        days = entry.get("expires_days", _DEFAULT_DAYS)
        if not isinstance(days, int) or isinstance(days, bool):
            raise AirlockError.refuse(
                "this is not a number of days",
                found=repr(days),
                where=f"keys.{key_id}.expires_days",
            )
        result[key_id] = Wanted(tuple(services), days)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "keys": {"type": "dict", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(
            module.params["directory"],
            _wanted(module.params["keys"]),
            datetime.now(timezone.utc),
            check=module.check_mode,
        )
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=bool(result.reasons),
        reasons=result.reasons,
        records=[record.as_dict() for record in result.records],
    )


if __name__ == "__main__":
    main()
