# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_probes
short_description: Spell out the attacks on running releases
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns probes for M(homelab.airlock.net_probe). The part of an id before the first slash says what is attacked.
    V(lo), V(out), V(host), V(peer), V(door) and V(write) are to be refused, V(control) shows that what is refused is
    there.
positional: targets
options:
  _input:
    description: Releases, as P(homelab.airlock.releases#filter) returns them.
    type: list
    elements: dict
    required: true
  targets:
    description: Hosts outside, in the form of C(airlock_probe_targets).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Attack the releases
  homelab.airlock.net_probe:
    probes: "{{ __runtime_releases | homelab.airlock.release_probes(airlock_probe_targets) }}"
"""

RETURN = r"""
_value:
  description: Probes.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import releases_probes


def release_probes(
    releases: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the attacks on ``releases``."""
    return releases_probes.attempts(releases, targets)


class FilterModule:
    """Filters of the verify tasks of the role runtime."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_probes": release_probes}
