# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles of this collection say about themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..module_utils import routes

_FOUNDATION = "baseline"
_ROLES = Path(__file__).parents[2] / "roles"


def options(role: str) -> dict[str, dict[str, Any]]:
    """Return what the argument specification of ``role`` declares, by name. Raises OSError."""
    text = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))


def variables(role: str) -> list[str]:
    """Return the names that the argument specification of ``role`` declares. Raises OSError."""
    return list(options(role))


def secrets(names: Iterable[str]) -> list[str]:
    """Return the variables of the roles ``names`` that hold a secret. Raises OSError."""
    return sorted(
        name
        for role in names
        for name, option in options(role).items()
        if option.get("no_log") and option.get("type") == "str"
    )


def catalogue() -> routes.Catalogue:
    """Return the routes that the front door serves. Raises AirlockError and OSError."""
    return routes.load(str(_ROLES / "gateway" / "files" / "routes"))


def removals(states: Mapping[str, str], needs: Mapping[str, list[str]]) -> list[str]:
    """Return why roles that are to be absent cannot be.

    ``states`` is present or absent by role; ``needs`` names by role the roles that it cannot do without.
    """
    absent = [role for role, state in states.items() if state == "absent"]
    if _FOUNDATION in absent:
        return [
            f"{_FOUNDATION}_state is absent, and what it brought makes and removes every other role; use "
            "uninstall.yml, which takes it away last."
        ]
    return [
        f"{lost}_state is absent, but {role} is present and needs it; make {role}_state absent as well, or leave "
        f"{lost} present."
        for lost in absent
        for role, needed in needs.items()
        if lost in needed and role not in absent
    ]
