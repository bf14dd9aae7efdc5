# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: intent_findings
short_description: Find what is misspelled, of the wrong kind, impossible or contradicts itself in the intent
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Checks the names of variables against the argument specifications of the roles, then the shared inputs against
    theirs, then each shared input against the others.
  - Looks for secrets in the clear in the variables of the site.
options:
  _input:
    description: The shared inputs that are set, by name.
    type: dict
    required: true
  names:
    description: Names of all variables that are set.
    type: list
    elements: str
    required: true
  roles:
    description: Roles of this collection whose variables exist; the first one declares the shared inputs.
    type: list
    elements: str
    required: true
  hosts:
    description: Hosts that get a certificate; no client may have their name.
    type: list
    elements: str
    required: true
  inventory_dir:
    description: Folder of the inventory; its variables are looked through like those of the site directory.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Refuse bad intent
  ansible.builtin.fail:
    msg: "{{ findings | join('\n') }}"
  vars:
    findings: >-
      {{ inputs
         | homelab.airlock.intent_findings(query('ansible.builtin.varnames', '^airlock_'), ['preflight'], ['box']) }}
  when: findings | length > 0
"""

RETURN = r"""
_value:
  description: Sentences, none when all is well.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import intent, manifests
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    arguments,
    clear_secrets,
    model_files,
    site,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils import roles as known

_SHARED = "airlock_"


def intent_findings(
    inputs: dict[str, Any],
    names: list[str],
    roles: list[str],
    hosts: list[str],
    inventory_dir: str = "",
) -> list[str]:
    unknown = intent.unknown_names(
        names, [name for role in roles for name in known.variables(role)], strict_prefix=_SHARED
    )
    # A value of the wrong kind cannot be looked into any further.
    if found := unknown + arguments.findings(known.options(roles[0]), inputs):
        return found
    folders = filter(None, (inputs["airlock_site_dir"], inventory_dir))
    findings = clear_secrets.findings(folders, known.secrets(roles))
    shared = {
        name.removeprefix(_SHARED): value
        for name, value in inputs.items()
        if name.startswith(_SHARED)
    }
    findings += site.check(shared["site_dir"]) + manifests.validate_catalog(shared["models"])
    try:
        shared["models"] = model_files.catalog(
            shared["models"], shared["site_dir"], shared["signing_passphrase"]
        )
    except (AirlockError, OSError) as exc:
        findings.append(str(exc))
    findings += intent.check(shared, hosts)
    return findings + intent.check_routes(shared["api_keys"], shared["services"], known.catalogue())


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"intent_findings": intent_findings}
