# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: evaluation_requests
short_description: Spell out what a release is asked before it may answer anybody
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Returns the questions of a suite as requests for M(homelab.airlock.api_probe).
positional: name, mode
options:
  _input:
    description: The suite, as in C(files/suite.json) of the role evaluation.
    type: dict
    required: true
  name:
    description: Name of the model to ask, as a key opens it.
    type: str
    required: true
  mode:
    description: What the release answers.
    type: str
    choices: [chat, embedding]
    required: true
"""

EXAMPLES = r"""
- name: Ask the canary of the service chat
  homelab.airlock.api_probe:
    requests: "{{ suite | homelab.airlock.evaluation_requests('chat@canary', 'chat') }}"
"""

RETURN = r"""
_value:
  description: Requests.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.evaluation import Suite


def evaluation_requests(suite: Any, name: str, mode: str) -> list[dict[str, Any]]:
    """Return the questions of ``suite`` for the model ``name``."""
    try:
        return Suite.parse(suite, "the suite").requests(name, mode)
    except AirlockError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Filters of the role evaluation."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"evaluation_requests": evaluation_requests}
