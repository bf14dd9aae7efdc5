# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the certificate authority of the site, on the controller."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    authority_attacks,
    certificate_requests,
    provided_certificate,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import (
    CLIENT,
    HOST,
    PROBE,
    WITNESS_NAME,
    Authority,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope
from ansible_collections.homelab.airlock.plugins.plugin_utils.controller_action import (
    ControllerAction,
)

_STATES = ("kept", "revoked", "certified", "provided", "attacked")
_NAMES = {"type": "list", "elements": "str", "default": []}
_TEXT = {"type": "str", "default": ""}


class ActionModule(ControllerAction):
    """Writes below pki/ and secrets/ of the site directory, and only there."""

    _SPEC: ClassVar[dict[str, Any]] = {
        "site_dir": {"type": "path", "required": True},
        "state": {"type": "str", "choices": list(_STATES), "default": "kept"},
        "passphrase": {**_TEXT, "no_log": True},
        "names": _NAMES,
        "addresses": _NAMES,
        "days": {"type": "int", "default": 90},
        "clients": {"type": "dict", "default": {}},
        "client_days": {"type": "int", "default": 90},
        "rotate": _TEXT,
        "host": _TEXT,
        "public_key": _TEXT,
        "request": _TEXT,
        "revoke": _TEXT,
        "placed": {"type": "dict", "default": {}},
        "certificate": {"type": "path"},
        "key": {"type": "path", "no_log": False},
        "authority": {"type": "path", "default": ""},
    }
    _RULES: ClassVar[dict[str, Any]] = {
        "required_if": [
            ("state", "certified", ["host"]),
            ("state", "attacked", ["host"]),
            ("state", "provided", ["certificate", "key"]),
        ]
    }

    def perform(self, wanted: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(timezone.utc)
        try:
            if wanted["state"] == "provided":
                return {"changed": False, **self._provided(wanted, now)}
            with Authority.opened(
                Path(wanted["site_dir"]),
                now,
                passphrase=wanted["passphrase"],
                check=self._task.check_mode,
            ) as authority:
                scope = Scope.of(wanted["names"], wanted["addresses"])
                result = getattr(self, f"_{wanted['state']}")(authority, scope, wanted)
            said = {"warnings": authority.warnings} if authority.warnings else {}
            changed = bool(authority.reasons)
            return {"changed": changed, "reasons": authority.reasons, **said, **result}
        except ValueError as exc:
            raise AirlockError(str(exc)) from exc

    @staticmethod
    def _provided(wanted: dict[str, Any], now: datetime) -> dict[str, Any]:
        for name in ("certificate", "key"):
            if not wanted[name]:  # Path("") would be the current directory
                raise AirlockError.refuse(
                    f"pki_server_certificate is provided, and there is no {name}",
                    expected=f"a path in pki_provided_{name}",
                    found="nothing",
                    where=f"pki_provided_{name}",
                    fix="set it, or set pki_server_certificate: made",
                )
        chain, key = (Path(wanted[name]).read_bytes() for name in ("certificate", "key"))
        authority = Path(wanted["authority"]).read_bytes() if wanted["authority"] else b""
        found = provided_certificate.check(chain, key, wanted["names"], now, authority)
        return {"chain": found.chain.decode(), "until": f"{found.until:%Y-%m-%dT%H:%M:%SZ}"}

    @staticmethod
    def _kept(authority: Authority, scope: Scope, wanted: dict[str, Any]) -> dict[str, Any]:
        authority.ensure(
            scope,
            wanted["days"],
            longest=wanted["client_days"],
            placed=_lists(wanted["placed"]),
        )
        clients = certificate_requests.keep_clients(
            authority,
            {str(name): dict(entry or {}) for name, entry in wanted["clients"].items()},
            wanted["client_days"],
            wanted["days"],
            wanted["rotate"],
        )
        return {"clients": clients}

    @staticmethod
    def _certified(authority: Authority, scope: Scope, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["request"]:
            chain = certificate_requests.sign_host(
                authority, wanted["host"], scope, wanted["request"].encode(), wanted["days"]
            )
            return {"due": [], "certificate": chain.decode()}
        due = certificate_requests.host_due(
            authority, wanted["host"], scope, wanted["public_key"].encode(), wanted["days"]
        )
        return {"due": due}

    @staticmethod
    def _revoked(authority: Authority, _scope: Scope, wanted: dict[str, Any]) -> dict[str, Any]:
        name = wanted["revoke"]
        authority.take_over(_lists(wanted["placed"]))
        # What a probe shows has its own name, or that of the client whose witness it is.
        named = (HOST, name), (CLIENT, name), (PROBE, name), (PROBE, WITNESS_NAME.format(name))
        taken = [
            entry.kind
            for kind, called in named
            for entry in authority.revoke(kind, called, wanted["days"])
        ]
        if not taken:
            known = authority.register.names(HOST, CLIENT)
            raise AirlockError.refuse(
                "there is no certificate to take back",
                expected="the name of a host or client with one that has not ended, of "
                + ", ".join(known),
                found=name or "nothing",
                where="certificate",
            )
        if CLIENT in taken:
            certificate_requests.forget_client(authority, name)
        return {"kinds": sorted(set(taken))}

    @staticmethod
    def _attacked(authority: Authority, scope: Scope, wanted: dict[str, Any]) -> dict[str, Any]:
        return {
            "attacks": authority_attacks.attempt(authority, wanted["host"], scope),
            "visitors": authority_attacks.visitors(authority, witness_of=wanted["revoke"]),
        }


def _lists(placed: dict[str, str]) -> dict[str, bytes]:
    """Return the revocation lists of the hosts that have one. What is no Base64 is no list either, which is said."""
    lists = {}
    for host, text in placed.items():
        try:
            lists[str(host)] = base64.b64decode(text, validate=True)
        except (TypeError, ValueError):
            lists[str(host)] = b"?"
    return {host: data for host, data in lists.items() if data}
