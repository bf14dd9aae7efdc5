# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: releases
short_description: Resolve services to releases
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns what the services of a host resolve to, each with a name for exactly this model, runtime and flags, a user
    of its own and what its launcher reads. Equal input gives equal output.
positional: models, artifacts, placed
options:
  _input:
    description: Services by name, as in C(airlock_services).
    type: dict
    required: true
  models:
    description: The catalog of models, as in C(airlock_models).
    type: dict
    required: true
  artifacts:
    description: Runtime artifacts by backend, each with at least C(sha256), C(size) and C(source).
    type: dict
    required: true
  placed:
    description:
      - Releases that the slots of the host point to, with the index of the user of each, as
        M(homelab.airlock.release_info) returns them; each keeps its user, and no other release gets it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what will run
  ansible.builtin.debug:
    msg: "{{ airlock_services | homelab.airlock.releases(airlock_models, runtime_artifacts) }}"
# -> [{"service": "chat", "release": "chat-1a2b3c4d", "user": "airlock-r07", ...}]
"""

RETURN = r"""
_value:
  description:
    - One entry for each service, sorted by name, with C(service), C(release), C(digest), C(mode), C(model),
      C(manifest), C(manifest_sha256), C(weights) (C(stored) and C(seen)), C(user), C(uid_index), C(backend),
      C(artifact) (C(name), C(sha256), C(path)), C(config), C(start_timeout) in seconds, and C(fetch), C(push) and
      C(switch) for the modules M(homelab.airlock.artifact_fetch), M(homelab.airlock.artifact_push) and
      M(homelab.airlock.release_switch).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import releases as library
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def releases(
    services: Mapping[str, Any],
    models: Mapping[str, Any],
    artifacts: Mapping[str, Any],
    placed: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Return the releases of ``services``."""
    try:
        return library.resolve(services, models, artifacts, placed)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role runtime."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"releases": releases}
