#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bom
short_description: Write the bill of materials of a house
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. Writes a CycloneDX 1.6 document with the models (files, digests,
    licence, origin, publisher's signature), the runtimes, the packages of every host, and what uses what.
  - It is made from the signed locks, and refused where the catalog does not resolve to what a lock says. Equal locks
    give equal bytes.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: The site directory on the controller.
    type: path
    required: true
  dest:
    description: File to write, mode 0600; its directory is made if need be.
    type: path
    required: true
  hosts:
    description: Hosts whose locks are read.
    type: list
    elements: str
    required: true
  releases:
    description: What the services resolve to, as the filter P(homelab.airlock.releases#filter) gives it.
    type: list
    elements: dict
    required: true
  models:
    description: The catalog of models.
    type: dict
    required: true
  runtimes:
    description: The catalog of runtimes by backend, each with C(version), C(licence), C(sha256), C(size) and C(source).
    type: dict
    required: true
  passphrase:
    description: What the signing key of the site is encrypted with.
    type: str
    default: ""
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Write the bill of materials
  homelab.airlock.bom:
    site_dir: "{{ airlock_site_dir }}"
    dest: "{{ airlock_site_dir }}/evidence/bom.cdx.json"
    hosts: "{{ ansible_play_hosts }}"
    releases: "{{ airlock_services | homelab.airlock.releases(airlock_models, runtimes) }}"
    models: "{{ airlock_models }}"
    runtimes: "{{ runtimes }}"
"""

RETURN = r"""
components:
  description: Number of components.
  returned: success
  type: int
dest:
  description: The file.
  returned: success
  type: str
serial_number:
  description: URN of the document, which follows from its content.
  returned: success
  type: str
"""
