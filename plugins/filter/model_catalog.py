# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: model_catalog
short_description: Join the models of the intent with those that were pulled
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns C(airlock_models) together with the models of C(models.yml) as C(models.lock.json) has them. A model that
    was never pulled is not in it.
  - A name in both, an entry that changed since it was locked, an expired waiver, and a lock that is not as this site
    signed it are refused.
positional: site_dir, passphrase
options:
  _input:
    description: The catalog that stands in the intent, as in C(airlock_models).
    type: dict
    required: true
  site_dir:
    description: Site directory on the controller.
    type: path
    required: true
  passphrase:
    description: What the signing key is encrypted with, as in C(airlock_signing_passphrase).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Name the models that may be used
  ansible.builtin.debug:
    msg: "{{ airlock_models | homelab.airlock.model_catalog(airlock_site_dir, airlock_signing_passphrase) | list }}"
"""

RETURN = r"""
_value:
  description: Entries by name, each with C(revision), C(licence) and C(files).
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_files


def model_catalog(models: Mapping[str, Any], site_dir: str, passphrase: str = "") -> dict[str, Any]:
    """Return the one catalog of a site."""
    try:
        return model_files.catalog(models, site_dir, passphrase)
    except (AirlockError, OSError) as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the roles model_store and runtime."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"model_catalog": model_catalog}
