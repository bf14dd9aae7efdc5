# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the role preflight; each returns a list of sentences, empty when all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.homelab.airlock.plugins.module_utils import intent, manifests
from ansible_collections.homelab.airlock.plugins.plugin_utils import site

_ROLES = Path(__file__).parents[2] / "roles"


def role_variables(role: str) -> list[str]:
    """Return the names that the argument specification of ``role`` declares."""
    text = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return sorted(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))


def unknown_names(names: Iterable[str], valid: Iterable[str]) -> list[str]:
    return intent.unknown_names(names, valid, strict_prefix="airlock_")


def intent_findings(inputs: dict[str, Any]) -> list[str]:
    return intent.check(inputs) + manifests.validate_catalog(inputs["models"])


def system_findings(name: str, version: str, systems: dict[str, list[str]]) -> list[str]:
    return intent.supported(name, str(version), systems)


def way_in_findings(ssh_connection: str, admin_networks: list[str]) -> list[str]:
    """``ssh_connection`` is the variable of sshd(8): client address first, or empty."""
    words = ssh_connection.split()
    return intent.way_in(words[0] if words else "", admin_networks)


def account_findings(passwd: dict[str, list[str]], first_uid: int, releases: int) -> list[str]:
    names = [f"airlock-r{index:02}" for index in range(releases)]
    wanted = [*names, "airlock-gatekeeper", "airlock-edge"]
    return intent.accounts(passwd, first_uid, wanted)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "role_variables": role_variables,
            "unknown_names": unknown_names,
            "intent_findings": intent_findings,
            "site_findings": site.check,
            "system_findings": system_findings,
            "way_in_findings": way_in_findings,
            "account_findings": account_findings,
        }
