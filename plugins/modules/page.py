#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: page
short_description: Write a page that a person can read
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. Writes one self-contained HTML file without scripts from the files
    below C(evidence/) of the site directory. Whatever a host said is escaped.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  kind:
    description: V(evidence) shows every host, V(survey) one.
    type: str
    choices: [evidence, survey]
    required: true
  site_dir:
    description: Site directory on the controller.
    type: path
    required: true
  dest:
    description: File to write; its directory must exist.
    type: path
    required: true
  host:
    description: Host of the survey. Required with O(kind=survey).
    type: str
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Write the evidence page
  homelab.airlock.page:
    kind: evidence
    site_dir: "{{ airlock_site_dir }}"
    dest: "{{ airlock_site_dir }}/evidence/index.html"
"""

RETURN = r"""
dest:
  description: The file.
  returned: always
  type: str
"""
