# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: intent_advice
short_description: Say what the intent will come to, without a refusal
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Sentences about an intent in which P(homelab.airlock.intent_findings#filter) found nothing to refuse, such as keys
    that end between two visits of the controller.
options:
  _input:
    description: The shared inputs, by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what will surprise
  ansible.builtin.debug:
    msg: "{{ inputs | homelab.airlock.intent_advice }}"
"""

RETURN = r"""
_value:
  description: Sentences, none when there is nothing to say.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils import intent
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

_SHARED = "airlock_"


def intent_advice(inputs: dict[str, Any]) -> list[str]:
    """Return what the shared ``inputs`` will come to."""
    try:
        return intent.advice({name.removeprefix(_SHARED): inputs[name] for name in inputs})
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"intent_advice": intent_advice}
