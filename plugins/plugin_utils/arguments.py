# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of role variables held against the argument specifications of the roles.

Ansible's own check runs when a role is reached, and its failure prints the whole specification. This one runs before
any role, and says in one sentence for each value where it is, what was expected and what was found. It is also
stricter: Ansible takes a text for a list and a list for a text, which a template then reads letter by letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_SHOWN = 60
_KINDS = {
    "bool": "true or false",
    "dict": "a dictionary",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}
_BOOLEANS = ("yes", "no", "true", "false", "on", "off", "1", "0")


def findings(options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each of ``values`` that does not fit its entry in ``options``.

    ``options`` is the ``options`` of an argument specification (Ansible documentation, "Role argument validation");
    ``values`` holds what is set, by name. A required option without a value is a finding, too.
    """
    found = [
        f"{name} is not set: expected {_KINDS.get(option.get('type', 'str'), 'a value')}."
        for name, option in options.items()
        if option.get("required") and name not in values
    ]
    for name, option in options.items():
        if name in values:
            found += _check(name, option, values[name])
    return found


def _check(where: str, option: Mapping[str, Any], value: Any) -> list[str]:
    kind = str(option.get("type", "str"))
    if not _fits(kind, value):
        advice = f"; write [{value}]" if kind == "list" and isinstance(value, str) else ""
        return [f"{where}: expected {_KINDS[kind]}, found {_shown(value)}{advice}."]
    if kind == "list":
        # Choices and options of a list are those of its elements.
        element = {**option, "type": option.get("elements", "raw")}
        return [
            finding
            for index, item in enumerate(value)
            for finding in _check(f"{where}[{index}]", element, item)
        ]
    choices = option.get("choices")
    if choices and value not in choices:
        return [f"{where}: expected {' or '.join(map(str, choices))}, found {_shown(value)}."]
    if kind == "dict" and "options" in option:
        return _fields(where, option["options"], value)
    return []


def _fields(where: str, options: Mapping[str, Any], value: Mapping[str, Any]) -> list[str]:
    found = [
        f"{where}: there is no field {name}; expected {', '.join(options)}."
        for name in value
        if name not in options
    ]
    for name, option in options.items():
        if value.get(name) is not None:
            found += _check(f"{where}.{name}", option, value[name])
        elif option.get("required"):
            found.append(f"{where}: the field {name} is missing; add it.")
    return found


def _fits(kind: str, value: Any) -> bool:
    """Tell whether ``value`` is of ``kind``, as it is or as the text that -e name=value gives."""
    if kind == "list":
        return isinstance(value, list)
    if kind == "dict":
        return isinstance(value, Mapping)
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in _BOOLEANS
    if kind in ("int", "float"):
        return not isinstance(value, bool) and _is_number(kind, value)
    if kind in ("str", "path"):
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return True


def _is_number(kind: str, value: Any) -> bool:
    if isinstance(value, float):
        return kind == "float"
    try:
        (int if kind == "int" else float)(str(value))
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    if value is None:
        return "nothing; give it a value, or leave it out"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
