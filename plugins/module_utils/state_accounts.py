# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of a host, as the observation has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def observe(
    passwd: str, group: str, shadow: str
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return users and groups by name from the content of the three files; of passwords only the kind.

    passwd(5), group(5), shadow(5).
    """
    passwords = {
        line.split(":")[0]: line.split(":")[1]
        for line in shadow.splitlines()
        if line.count(":") > 1
    }
    users: dict[str, dict[str, Any]] = {}
    for line in passwd.splitlines():
        if line.count(":") == 6:
            name, _password, uid, gid, _comment, home, shell = line.split(":")
            users[name] = {
                "uid": int(uid),
                "primary_gid": int(gid),
                "home": home,
                "shell": shell,
                "password": _password_kind(passwords.get(name)),
            }
    groups = {}
    for line in group.splitlines():
        if line.count(":") == 3:
            name, _password, gid, members = line.split(":")
            groups[name] = {"gid": int(gid), "members": sorted(filter(None, members.split(",")))}
    names = {facts["gid"]: name for name, facts in groups.items()}
    for facts in users.values():
        gid = facts.pop("primary_gid")
        facts["group"] = names.get(gid, str(gid))
    return users, groups


def _password_kind(field: str | None) -> str:
    if field is None:
        return "none"
    if field == "":
        return "empty"
    return "locked" if field[0] in "!*" else "set"


def without_dynamic_ids(
    accounts: Mapping[str, Mapping[str, Any]], key: str, owned: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Replace ids that depend on the order of installation by the word ``system``.

    Debian gives out 100 to 999 as packages come (Debian Policy 9.2.2); those of our own accounts
    are static.
    """
    fixed = set(owned)
    return {
        name: {
            **facts,
            key: "system" if 100 <= facts[key] <= 999 and name not in fixed else str(facts[key]),
        }
        for name, facts in accounts.items()
    }
