# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: route_requests
short_description: Spell out the requests that must find no route
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - Returns a request for every route that a backend is known to have and that is not served, for
    M(homelab.airlock.api_probe).
options:
  _input:
    description: The parsed catalogue of a backend's routes.
    type: dict
    required: true
  control:
    description: Identifier of the control that the records belong to.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Knock at what a runtime has and nobody may use
  homelab.airlock.api_probe:
    url: https://ai.example.lan:8443
    requests: "{{ catalogue | homelab.airlock.route_requests('GW-03') }}"
"""

RETURN = r"""
_value:
  description: Requests.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import routes


def route_requests(catalogue: Mapping[str, Any], control: str) -> list[dict[str, Any]]:
    return routes.unserved(catalogue, control)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"route_requests": route_requests}
