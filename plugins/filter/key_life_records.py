# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: key_life_records
short_description: Turn the ends of API keys into evidence, amber before red
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - One record for each key that is not revoked. What is due holds no longer; until it is over it is waived for today.
  - One more for a key whose holder may still have the one before it, until that ends.
positional: control, visit_days, waiting
options:
  _input:
    description: Records of keys, as C(keys.json) of the gatekeeper has them.
    type: list
    elements: dict
    required: true
  control: {description: Control of the records., type: str, required: true}
  visit_days: {description: Days that may lie between two visits of the controller., type: int, required: true}
  waiting:
    description: Ids of the keys whose file is still on the controller.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
records: "{{ kept | homelab.airlock.key_life_records('KEY-07', 15, ['ann']) }}"
"""

RETURN = r"""
_value:
  description: Evidence records as M(homelab.airlock.evidence) takes them.
  type: list
  elements: dict
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import lives
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def key_life_records(
    kept: list[dict[str, Any]], control: str, visit_days: int, waiting: list[str]
) -> list[dict[str, Any]]:
    """Return how long each of ``kept`` is still taken."""
    visit, now = timedelta(days=int(visit_days)), datetime.now(timezone.utc)
    try:
        return lives.of_keys(kept, control, visit=visit, waiting=waiting, now=now)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role gateway."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"key_life_records": key_life_records}
