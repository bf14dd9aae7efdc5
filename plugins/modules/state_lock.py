#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: state_lock
short_description: Keep the lock of a host and compare the host with it
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. The files are C(state/<host>.lock.json), C(state/<host>.observed.json)
    and C(state/<host>.ledger.jsonl) in the site directory.
  - The first observation of a host becomes its lock. Later ones are compared with it and never change it, unless
    O(relock) is set with a O(reason).
  - RV(ignore:changed) speaks of the lock only; the latest observation is kept without being reported as a change.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: The site directory on the controller.
    type: path
    required: true
  host:
    description: Name of the host in the inventory.
    type: str
    required: true
  state:
    description:
      - V(locked) creates the lock if there is none and keeps the observation.
      - V(compared) only reads; a host without a lock is refused.
      - V(rebuildable) refuses a machine of another platform, and an intent that resolves to other releases, models or
        artifacts, than the lock has.
      - V(read) returns the head of the lock and needs no observation.
    type: str
    choices: [locked, compared, rebuildable, read]
    default: locked
  observation:
    description: What M(homelab.airlock.host_state) returned.
    type: dict
  intent:
    description: What the owner wrote; only its digest is kept.
    type: dict
    default: {}
  releases:
    description: What the filter P(homelab.airlock.releases#filter) made of the intent.
    type: list
    elements: dict
    default: []
  relock:
    description: Take the observation into the lock.
    type: bool
    default: false
  reason:
    description: Why; it goes into the ledger.
    type: str
    default: ""
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Compare with the lock
  homelab.airlock.state_lock:
    site_dir: "{{ airlock_site_dir }}"
    host: "{{ inventory_hostname }}"
    observation: "{{ __lock_seen.observation }}"
"""

RETURN = r"""
differences:
  description: What is not as the lock has it; C(sentence) says it in words.
  returned: with O(state=locked) and O(state=compared)
  type: list
  elements: dict
intent_changed:
  description: Whether the owner's intent is another one than the lock was made from.
  returned: with O(state=locked) and O(state=compared)
  type: bool
lock:
  description: The head of the lock, without the state and its coverage.
  returned: always
  type: dict
package_versions:
  description: Version of every package in the lock.
  returned: with O(state=rebuildable)
  type: dict
"""
