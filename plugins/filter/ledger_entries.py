# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ledger_entries
short_description: Turn what tasks returned into entries of the ledger
version_added: 0.1.0
author: homelab.airlock contributors
description:
  - Makes one entry for M(homelab.airlock.ledger) from each item.
positional: kind, subject, fields
options:
  _input:
    description: What happened, one dictionary each.
    type: list
    elements: dict
    required: true
  kind:
    description: What happened to all of them, in one word.
    type: str
    required: true
  subject:
    description: Name of the field that says to what.
    type: str
    required: true
  fields:
    description: Names of the fields that say how it ended.
    type: list
    elements: str
    required: true
  host:
    description: On which host, if on one.
    type: str
"""

EXAMPLES = r"""
- name: Show what would be written down
  ansible.builtin.debug:
    msg: "{{ pushed.missing | homelab.airlock.ledger_entries('pushed', 'dest', ['sha256'], host=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Entries with C(kind), C(subject) and C(result).
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def ledger_entries(
    items: Iterable[Mapping[str, Any]], kind: str, subject: str, fields: list[str], host: str = ""
) -> list[dict[str, Any]]:
    """Return one entry for each of ``items``."""
    where = {"host": host} if host else {}
    return [
        {
            "kind": kind,
            "subject": item[subject],
            "result": {**where, **{field: item[field] for field in fields}},
        }
        for item in items
    ]


class FilterModule:
    """Filters of the roles that write to the ledger."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ledger_entries": ledger_entries}
