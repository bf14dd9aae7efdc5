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
  - Runs on the controller, without a connection. The files are C(state/<host>.lock.json), its signature
    C(state/<host>.lock.<serial>.dsse.json) and C(state/<host>.observed.json) in the site directory. Each lock has an
    entry in C(state/ledger.jsonl), and so has the making of the key.
  - A lock is signed with Ed25519 by C(state/signing.key), which is made on first use. One that is not as it was signed
    is refused in every state, and so is one that is not the last of the host in the ledger, or that is older than what
    the host remembers, of another lineage, of another key, or of other content and the same serial. So is a key that
    the ledger does not name, because then the ledger was lost or cut. Only O(relock) with a O(reason) goes on from
    there.
  - A lock from before there were signatures is signed as it is, once, with O(state=locked); in every other state it is
    refused.
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
      - V(attacked) shows the same code copies of the lock that were changed, signed by somebody else, or replaced.
    type: str
    choices: [locked, compared, rebuildable, read, attacked]
    default: locked
  observation:
    description: What M(homelab.airlock.host_state) returned.
    type: dict
  passphrase:
    description: What the signing key is encrypted with; empty for a key in the clear, mode 0600.
    type: str
    default: ""
  remembered:
    description:
      - The lock that the host accepted last, as RV(homelab.airlock.host_state#module:accepted) has it. Left out when
        the host remembers none; the ledger alone speaks then.
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
    description: Take the observation into a new lock, with a higher serial than host, ledger and lock name.
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
accepted:
  description: What the host shall remember, with C(digest), C(key), C(lineage) and C(serial).
  returned: with O(state=locked)
  type: dict
attacks:
  description: What was tried, each with C(probe), C(holds) (whether it was refused) and C(observed).
  returned: with O(state=attacked)
  type: list
  elements: dict
differences:
  description: What is not as the lock has it; C(sentence) says it in words.
  returned: with O(state=locked) and O(state=compared)
  type: list
  elements: dict
intent_changed:
  description: Whether the owner's intent is another one than the lock was made from.
  returned: with O(state=locked) and O(state=compared)
  type: bool
itself:
  description: How the lock itself fared when it was shown; none when it was refused.
  returned: with O(state=attacked)
  type: str
kind:
  description: V(created), V(relocked) or V(adopted); none when the lock stays.
  returned: with O(state=locked)
  type: str
lock:
  description: The head of the lock, without the state and its coverage.
  returned: unless O(state=attacked)
  type: dict
package_versions:
  description: Version of every package in the lock.
  returned: with O(state=rebuildable)
  type: dict
"""
