#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Place or remove everything that a role owns on a host
version_added: 0.1.0
description:
  - Renders and places all directories, files and links of a role in one execution, and keeps a record of them in
    C(/var/lib/airlock/owned.json), so that O(state=absent) removes what was brought and nothing else.
  - Unit files cause a daemon-reload, files in C(/etc/sysusers.d) make their accounts, files in C(/etc/tmpfiles.d)
    make their directories.
  - What is about to change stands in the record before it does, so that a run that ends half-way is made up for by the
    next one.
  - A file that is there already and that no role of this collection wrote is refused, unless O(files[].adopt) is set.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  role:
    description: Name of the role, the key in the ownership record.
    type: str
    required: true
  state:
    description: V(absent) removes everything that the record holds for O(role).
    type: str
    choices: [present, absent]
    default: present
  directories:
    description: Directories, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Octal mode., type: str, default: "0755"}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
      purge:
        description: Let O(state=absent) remove what services left inside.
        type: bool
        default: false
  files:
    description:
      - Files. Each has exactly one of C(template), C(src), C(content), C(zipapp), which are resolved on the controller
        (C(template) may come with C(vars)), and may have C(secret=true), which keeps it out of every diff.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Octal mode., type: str, default: "0644"}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
      validate:
        description: Command that must accept the new file, with C(%s) for its path.
        type: str
        default: ""
      adopt:
        description: Replace a foreign file; it is kept and put back by O(state=absent).
        type: bool
        default: false
      serial:
        description:
          - Number of this content. One that is lower than that of the file before is refused, so that of two runs at
            once the one that looked later wins. C(crl=true) takes that of the first revocation list in it.
        type: int
      series:
        description: What O(files[].serial) counts; another one begins anew.
        type: str
        default: ""
      content_b64:
        description: Content, Base64; filled in by the action.
        type: str
      secret_b64:
        description: Secret content, Base64; filled in by the action.
        type: str
  links:
    description: Symbolic links.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path of the link., type: path, required: true}
      target: {description: What it points to., type: str, required: true}
  units:
    description: Units that O(state=absent) stops and disables.
    type: list
    elements: str
    default: []
  prune:
    description: Remove files that the role owned and no longer names.
    type: bool
    default: false
  follow_up:
    description:
      - Something has to happen before a change is in force, such as a restart. Until O(in_force) says that it did,
        every run returns the path as changed again, also after a reboot, which does not make up for everything.
    type: bool
    default: false
  in_force:
    description: Paths that RV(changed_paths) of an earlier task had and that are in force now.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Place the ruleset and its service
  homelab.airlock.managed_files:
    role: egress
    directories:
      - {path: /etc/airlock}
    files:
      - {path: /etc/airlock/egress.nft, template: egress.nft.j2, validate: "nft -c -f %s"}
      - {path: /etc/systemd/system/airlock-egress.service, template: airlock-egress.service.j2}
    units: [airlock-egress.service]

- name: Place what a service reads at its start
  homelab.airlock.managed_files:
    role: gateway
    files:
      - {path: /etc/airlock/gateway/settings.json, src: settings.json}
    follow_up: true
  register: placed
  notify: Restart the service

- name: Restart it, if it changed
  ansible.builtin.meta: flush_handlers

- name: Note that it has read it
  homelab.airlock.managed_files:
    role: gateway
    in_force: "{{ placed.changed_paths }}"
  when: placed is changed and not ansible_check_mode

- name: Remove them again
  homelab.airlock.managed_files:
    role: egress
    state: absent
"""

RETURN = r"""
changed_paths:
  description: What changed, paths and account names, RV(pending) among them.
  returned: always
  type: list
  elements: str
reasons:
  description: Why, one sentence each.
  returned: always
  type: list
  elements: str
pending:
  description: Paths that an earlier run changed and that were not in force when it ended.
  returned: always
  type: list
  elements: str
daemon_reload:
  description: Whether a unit file changed and systemd was told.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.managed_plan import SPEC, Plan


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        outcome = Plan.of(module.params).carry_out(runner(module), check=module.check_mode)
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=bool(outcome.changed_paths),
        changed_paths=outcome.changed_paths,
        reasons=outcome.reasons,
        pending=outcome.pending,
        daemon_reload=outcome.daemon_reload,
        diff=outcome.diffs,
    )


if __name__ == "__main__":
    main()
