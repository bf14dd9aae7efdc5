# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles of this collection say about themselves."""

from __future__ import annotations

from pathlib import Path

import yaml

_ROLES = Path(__file__).parents[2] / "roles"


def variables(role: str) -> list[str]:
    """Return the names that the argument specification of ``role`` declares. Raises OSError."""
    text = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))
