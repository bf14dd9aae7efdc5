#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_signature
short_description: Hold models against the signatures of their publishers
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. Verifies bundles of OpenSSF Model Signing for the models whose catalog
    entry has C(signature), and refuses a model whose files are not exactly those that were signed.
  - Reads no byte of a model, since the bundle and the catalog both name the SHA-256 of each file. Bundles that name
    other digests, or digests of parts of files, are refused.
  - What a bundle says it ignores is not ignored.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: N/A, details: It changes nothing.}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: The site directory on the controller; relative paths of C(signature) begin there.
    type: path
    required: true
  models:
    description:
      - The catalog of models. C(signature) has V(type=key) with C(bundle) and C(key), a public EC key in PEM, or
        V(type=certificate) with C(bundle), C(ca), C(identity) and C(as_of), the day on which the certificate has to
        have been valid, today by default.
    type: dict
    required: true
  names:
    description: The models to look at; those without C(signature) are passed over.
    type: list
    elements: str
    required: true
  attack:
    description: Also show the first signed model with one file more, and return how that ended.
    type: bool
    default: false
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Refuse models that their publishers did not sign
  homelab.airlock.model_signature:
    site_dir: "{{ airlock_site_dir }}"
    models: "{{ airlock_models }}"
    names: "{{ airlock_services.values() | map(attribute='model') | unique }}"
"""

RETURN = r"""
signatures:
  description:
    - One entry for each signed model, with C(model), C(type), C(identity), C(key_id) (SHA-256 of the public key),
      C(bundle_sha256) and C(as_of).
  returned: success
  type: list
  elements: dict
attack:
  description: How a file that nobody signed fared, with C(holds) (whether it was refused) and C(observed).
  returned: with O(attack=true), when a model is signed
  type: dict
"""
