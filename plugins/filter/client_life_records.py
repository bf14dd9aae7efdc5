# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: client_life_records
short_description: Turn the ends of client certificates that wait to be replaced into evidence
version_added: 0.1.0
author: homelab.airlock contributors (!UNKNOWN)
description:
  - One record for each client whose next key still lies on the controller, for as long as it may still show the
    certificate of before. With less than O(amber) left it holds no longer; until then it is waived for today.
positional: control, waiting, amber, now
options:
  _input:
    description: What the authority issued, oldest first, as C(issued.json) has it.
    type: list
    elements: dict
    required: true
  control: {description: Control of the records., type: str, required: true}
  waiting:
    description: Names of the clients whose key is still on the controller.
    type: list
    elements: str
    required: true
  amber: {description: "Hours of life that are expected.", type: int, required: true}
  now: {description: "The moment that counts, of UTC, without time zone.", type: raw, required: true}
"""

EXAMPLES = r"""
records: "{{ issued | homelab.airlock.client_life_records('PKI-03', ['alice'], 360, now(utc=true)) }}"
"""

RETURN = r"""
_value:
  description: Evidence records as M(homelab.airlock.evidence) takes them.
  type: list
  elements: dict
"""

from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import lives
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import CLIENT
from ansible_collections.homelab.airlock.plugins.plugin_utils.issued import Issued, Register


def client_life_records(
    issued: list[dict[str, Any]], control: str, waiting: list[str], amber: int, now: datetime
) -> list[dict[str, Any]]:
    register = Register([Issued.of(entry) for entry in issued])
    now = now.replace(tzinfo=timezone.utc)
    found = []
    for name in waiting:
        before = register.before(CLIENT, name, now)
        if before is not None:
            said = {
                "control": control,
                "vantage": "external",
                "probe": f"how long the certificate of {name} of before still lives",
            }
            due = f"hand secrets/clients/{name}.pem with its key over and delete {name}.key there"
            hours = {"amber": timedelta(hours=amber), "red": timedelta(0)}
            found.append(lives.record(said, before.until, now, **hours, due=due))
    return found


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"client_life_records": client_life_records}
