# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can reach the front door, and what it must ask of them at least."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import AirlockError

# What each authentication is, weakest first, and the weakest that a level of exposure allows.
_AUTHENTICATION = {
    "key": "a key without TLS",
    "tls": "TLS and a key",
    "mtls": "TLS, a client certificate and a key",
}
_LEAST = {"local": "key", "internal": "tls", "network": "tls", "high": "mtls"}
_CLIENT = re.compile(r"[a-z][a-z0-9-]{0,30}")
_NAME = "a name of a-z, 0-9 and -, beginning with a letter"
# Of servers, for public authorities since 2020, which browsers and Apple's devices hold others to as well.
_MOST_DAYS = 397


def check(
    level: str,
    authentication: str,
    networks: Sequence[Any],
    clients: Mapping[Any, Any],
    hosts: Sequence[str] = (),
) -> list[str]:
    """Check that ``authentication`` is enough for ``level``, and that somebody can get in.

    ``networks`` are those of the clients in CIDR form; one that is none is left to others. ``clients`` maps names
    to ``{csr: PATH}`` or nothing; ``hosts`` have certificates of their own.
    """
    found = [*_clients(clients, hosts)]
    order = list(_AUTHENTICATION)
    least = _LEAST[level]
    if order.index(authentication) < order.index(least):
        found.append(
            f"airlock_authentication: {authentication} ({_AUTHENTICATION[authentication]}) is less than "
            f"airlock_exposure: {level} asks for; leave it out, or set {least} ({_AUTHENTICATION[least]})."
        )
    if level == "internal":
        found += [
            f"airlock_client_networks: {network} is no private network, and airlock_exposure is internal; take it out, "
            "or set airlock_exposure: network."
            for network in networks
            if not _is_private(network)
        ]
    if authentication == "mtls" and not clients:
        found.append(
            "airlock_clients is empty, and without a client certificate nobody could ask anything; name whoever "
            "gets one, like alice: {}."
        )
    return found


def check_client(name: str) -> None:
    """Raise AirlockError unless a client may be called ``name``, which becomes a part of paths."""
    if not _CLIENT.fullmatch(name):
        raise AirlockError.refuse(
            "this cannot be the name of a client",
            expected=f"{_NAME}, 31 of them at most",
            found=repr(name),
            where="airlock_clients",
        )


def check_bound(
    keys: Mapping[Any, Any], authentication: str, clients: Mapping[Any, Any]
) -> list[str]:
    """Check that who a key is bound to has a certificate, and is asked for it; ``keys`` maps ids to scopes."""
    found = []
    for name, key in keys.items():
        where = f"airlock_api_keys.{name}.certificate"
        bound = key.get("certificate") if isinstance(key, Mapping) else None
        if bound and authentication != "mtls":
            found.append(
                f"{where}: airlock_authentication is {authentication}, so nobody is asked for a certificate and this "
                "key would open nothing; take it out, or set airlock_authentication: mtls."
            )
        elif _CLIENT.fullmatch(str(bound or "")) and bound not in clients:
            found.append(
                f"{where}: there is no {bound} in airlock_clients; expected {', '.join(map(str, clients)) or 'none'}, "
                "or the SHA-256 of a certificate."
            )
    return found


def check_life(days: Any, visit_days: Any) -> list[str]:
    """Check that a certificate of ``days`` outlives two visits of the controller, and is not too old at its end."""
    life, visit = int(days), int(visit_days)
    if visit < 1 or not 2 * visit <= life <= _MOST_DAYS:
        return [
            f"airlock_certificate_days: expected {2 * max(visit, 1)} to {_MOST_DAYS}, found {life}: a certificate is "
            f"renewed after half of its life, and airlock_visit_days says that you come every {visit} days."
        ]
    return []


def _is_private(network: Any) -> bool:
    try:
        return ipaddress.ip_network(str(network)).is_private
    except ValueError:
        return True


def _clients(clients: Mapping[Any, Any], hosts: Sequence[str]) -> list[str]:
    found = []
    for name, entry in clients.items():
        where = f"airlock_clients.{name}"
        if not _CLIENT.fullmatch(str(name)):
            found.append(f"{where}: expected {_NAME}.")
        if name in hosts:
            found.append(
                f"{where}: a host has this name, and revoke.yml could not tell them apart; give the client another."
            )
        if entry and (not isinstance(entry, Mapping) or set(entry) != {"csr"}):
            found.append(f"{where}: expected {{}}, or csr: PATH of a request, found {entry}.")
    return found
