# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_records
short_description: Turn lives of certificates and revocation lists into evidence, amber before red
version_added: 0.1.0
description:
  - One record for each certificate or list. What is due holds no longer; until it is urgent it has a waiver for today.
options:
  _input:
    description:
      - Results of loops over M(community.crypto.x509_certificate_info) and M(community.crypto.x509_crl_info).
    type: list
    elements: dict
    required: true
  control: {description: Control of the records., type: str, required: true}
  amber: {description: "Hours of life that are expected.", type: int, required: true}
  red: {description: "Hours of life below which it is urgent.", type: int, required: true}
  now: {description: "The moment that counts, of UTC, without time zone.", type: raw, required: true}
author: homelab.airlock contributors (!UNKNOWN)
"""

EXAMPLES = r"""
records: "{{ lives.results | homelab.airlock.certificate_records('PKI-03', 720, 180, now(utc=true)) }}"
"""

RETURN = r"""
_value:
  description: Evidence records as M(homelab.airlock.evidence) takes them.
  type: list
  elements: dict
"""

import os
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.homelab.airlock.plugins.module_utils import lives


def certificate_records(
    found: list[dict[str, Any]], control: str, amber: int, red: int, now: datetime
) -> list[dict[str, Any]]:
    return [_record(life, control, amber, red, now) for life in found]


def _record(
    life: dict[str, Any], control: str, amber: int, red: int, now: datetime
) -> dict[str, Any]:
    is_list = "next_update" in life
    end = datetime.strptime(life["next_update" if is_list else "not_after"], "%Y%m%d%H%M%SZ")
    name = life.get("subject", {}).get("commonName") or os.path.basename(life["item"])
    said = {
        "control": control,
        "vantage": "external",
        "probe": f"how long the {'list' if is_list else 'certificate of'} {name} still lives",
    }
    hours = {"amber": timedelta(hours=amber), "red": timedelta(hours=red)}
    return lives.record(said, end, now, **hours, due="it is due; run renew.yml")


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"certificate_records": certificate_records}
