#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ledger
short_description: Write down who did what to what, when, in a chain
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. Adds entries to C(state/ledger.jsonl) of the site directory, each with
    the time, who runs the play, and the SHA-256 of the entry before.
  - A ledger whose chain is broken is refused, and nothing is added to it.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent:
    support: partial
    details: Every entry is an event of its own; without entries nothing changes.
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: The site directory on the controller.
    type: path
    required: true
  state:
    description:
      - V(appended) adds O(entries).
      - V(proven) only reads. It walks the whole chain, and shows the same code copies of it that were changed.
    type: str
    choices: [appended, proven]
    default: appended
  entries:
    description: What happened.
    type: list
    elements: dict
    default: []
    suboptions:
      kind: {description: "One word, such as V(fetched).", type: str, required: true}
      subject: {description: What it happened to., type: str, required: true}
      result: {description: How it ended., type: dict, required: true}
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Write down what was fetched
  homelab.airlock.ledger:
    site_dir: "{{ airlock_site_dir }}"
    entries: >-
      {{ fetched.artifacts | selectattr('fetched')
         | homelab.airlock.ledger_entries('fetched', 'name', ['sha256', 'size', 'source']) }}
"""

RETURN = r"""
added:
  description: Number of entries that were or would be added.
  returned: with O(state=appended)
  type: int
whole:
  description: Whether there is a ledger and its chain is whole.
  returned: with O(state=proven)
  type: bool
observed:
  description: The ledger in words, or what is wrong with it.
  returned: with O(state=proven)
  type: str
attacks:
  description: What was tried on copies, each with C(probe), C(holds) (whether it was refused) and C(observed).
  returned: with O(state=proven)
  type: list
  elements: dict
"""
