#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Make, rotate, revoke and remove the API keys of a site
version_added: 0.1.0
description:
  - Keeps a directory on the controller that holds exactly the wanted keys, each as C(<id>.key) (the key itself, for
    the person who uses it) and C(<id>.json) (its record with the SHA-256 of the secret).
  - A key that has expired is replaced, with O(renew) one that has lived half of its life as well, and one that is no
    longer wanted is removed. Only records are returned, never a key.
  - A revoked key loses its file and keeps its record, so that it stays revoked until it is rotated. A key whose file
    was removed otherwise stays good; O(rotate) makes another.
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
    details: >-
      Until a key, half of its life with O(renew), or an overlap ends; O(rotate) makes another secret each time with
      O(again).
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
        that it opens, and C(expires_days), the days from its making until it expires, 1 to 366, by default 30.
      - It may have C(routes) (paths; without them every route), C(max_tokens) (of one answer), C(requests_per_minute),
        C(tokens_per_minute), C(concurrency), C(hours) (such as C(08:00-18:00 Europe/Zurich)), C(networks) (of clients),
        C(certificate) (name or SHA-256 of the client certificate that must come with it), C(on_behalf) (may name the
        person behind a shared client) C(guardrail) (text before every conversation), C(screen) and
        C(filter) (in place of those of the site).
    type: dict
    required: true
  rotate:
    description:
      - Ids of keys that get another secret now. The one before it is good for O(overlap) seconds more.
      - While it is, the same order changes nothing, so that it can be repeated when a host did not answer.
    type: list
    elements: str
    default: []
  again:
    description: Let O(rotate) make another secret all the same, which ends the older of the two at once.
    type: bool
    default: false
  renew:
    description:
      - Give keys that have lived half of their life another secret. The one before stays good until its own end,
        whatever O(overlap) says; until then the key is not renewed again.
    type: bool
    default: false
  revoke:
    description: Ids of keys that are no longer taken from now on, not even within an overlap.
    type: list
    elements: str
    default: []
  overlap:
    description: Seconds that the secret before a rotation is still good, at most until it expires.
    type: int
    default: 86400
  placed:
    description:
      - What hosts have as C(keys.json) now, by host, in Base64 as M(ansible.builtin.slurp) returns it; empty where a
        host has none. A key that one of them has as revoked, or in place of which it has one that was made later, is
        revoked here, too. A file that cannot be read is a warning.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Keep the keys of the site
  homelab.airlock.api_key:
    directory: "{{ airlock_site_dir }}/secrets/keys"
    keys:
      alice: {services: [chat, embed], expires_days: 90}
      notebook: {services: [chat], max_tokens: 512, requests_per_minute: 20, networks: [192.168.20.0/24]}
  delegate_to: localhost
  become: false
  register: site_keys

- name: Give alice another secret, and an hour to change to it
  homelab.airlock.api_key:
    directory: "{{ airlock_site_dir }}/secrets/keys"
    keys: "{{ airlock_api_keys }}"
    rotate: [alice]
    overlap: 3600
  delegate_to: localhost
  become: false
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
serial:
  description: How often the records have changed; O(homelab.airlock.managed_files#module:files[].serial) of what they
    are placed in.
  returned: success
  type: int
  sample: 7
reasons:
  description: Why something changed, one sentence each.
  returned: success
  type: list
  elements: str
unchanged:
  description: Why O(rotate) left a key as it is, one sentence each.
  returned: success
  type: list
  elements: str
"""

from datetime import datetime, timedelta, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import key_scopes, placed_keys
from ansible_collections.homelab.airlock.plugins.module_utils.api_key_files import (
    Orders,
    Wanted,
    converge,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_MAX_OVERLAP = 31 * 24 * 3600


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "keys": {"type": "dict", "required": True, "no_log": False},
            "rotate": {"type": "list", "elements": "str", "default": []},
            "again": {"type": "bool", "default": False},
            "renew": {"type": "bool", "default": False},
            "revoke": {"type": "list", "elements": "str", "default": []},
            "overlap": {"type": "int", "default": 86400},
            "placed": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    overlap = module.params["overlap"]
    if not 0 <= overlap <= _MAX_OVERLAP:
        module.fail_json(msg=f"overlap: expected 0 to {_MAX_OVERLAP} seconds, found {overlap}.")
    placed = placed_keys.read(module.params["placed"])
    for flaw in placed.flaws:
        module.warn(flaw)
    try:
        result = converge(
            module.params["directory"],
            {
                key_id: Wanted(*key_scopes.wanted(entry, f"keys.{key_id}"))
                for key_id, entry in module.params["keys"].items()
            },
            datetime.now(timezone.utc),
            orders=Orders(
                frozenset(module.params["rotate"]),
                frozenset(module.params["revoke"]),
                timedelta(seconds=overlap),
                module.params["again"],
                module.params["renew"],
            ),
            placed=placed,
            check=module.check_mode,
        )
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=bool(result.reasons),
        reasons=result.reasons,
        unchanged=result.unchanged,
        serial=result.serial,
        records=[record.as_dict() for record in result.records],
    )


if __name__ == "__main__":
    main()
