# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight refuses: intent that is misspelled, impossible or contradicts itself.

Every function returns findings, complete sentences for the owner; an empty list is consent.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from . import exposure, key_scopes, manifests, weights
from .errors import AirlockError
from .routes import Catalogue

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_KEY_ID = re.compile(r"[a-z][a-z0-9-]{0,30}")
_DNS_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_SERVICE_FIELDS = {"model", "backend", "mode", "context", "threads", "parallel"}
_BACKEND = "llama_cpp"
_NEAR = 0.84


def unknown_names(names: Iterable[str], valid: Iterable[str], *, strict_prefix: str) -> list[str]:
    """Find misspelled variables among ``names``.

    With ``strict_prefix`` (the shared inputs) every name outside ``valid`` is refused; names of
    other variables only when they are near a valid one, for the owner may have variables of
    their own that happen to begin like a role.
    """
    known = sorted(set(valid))
    findings = []
    for name in sorted(set(names) - set(known)):
        near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
        if name.startswith(strict_prefix):
            near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        elif not near:
            continue
        findings.append(f"There is no variable {name}; did you mean {near[0]}?")
    return findings


def check(intent: Mapping[str, Any], hosts: Sequence[str] = ()) -> list[str]:
    """Check the shared inputs against themselves and each other.

    ``intent`` maps the names of the shared inputs without ``airlock_`` to their values, which are
    of the kinds that preflight's argument specification declares; ``hosts`` get a certificate, too.
    """
    return [
        *_port(intent["listen_port"]),
        *_networks("airlock_admin_networks", intent["admin_networks"]),
        *_networks("airlock_client_networks", intent["client_networks"]),
        *_apt_proxy(intent["apt_proxy"]),
        *_server(intent["server_names"], intent["server_addresses"]),
        *_services(intent["services"], intent["models"]),
        *_api_keys(intent["api_keys"], intent["services"]),
        *exposure.check(
            intent["exposure"],
            intent["authentication"],
            intent["client_networks"],
            intent["clients"],
            hosts,
        ),
        *exposure.check_bound(intent["api_keys"], intent["authentication"], intent["clients"]),
        *exposure.check_life(intent["certificate_days"], intent["visit_days"]),
    ]


def check_routes(
    keys: Mapping[str, Any], services: Mapping[str, Any], catalogue: Catalogue
) -> list[str]:
    """Check that the backends of ``services`` have the routes that ``keys`` name.

    Both are the shared inputs. What of them cannot be read is left to ``check``, which refuses it.
    """
    known = catalogue.paths(
        str(service.get("backend", _BACKEND))
        for service in services.values()
        if isinstance(service, Mapping)
    )
    findings = []
    for name, key in keys.items() if known else ():
        where = f"airlock_api_keys.{name}"
        try:
            scope, _days = key_scopes.wanted(key, where)
        except AirlockError:
            continue
        for route in (route for route in scope.routes if route not in known):
            near = difflib.get_close_matches(route, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known)}."
            findings.append(f"{where}.routes: no service has the route {route}; {meant}")
    return findings


def advice(intent: Mapping[str, Any]) -> list[str]:
    """Return what an intent without findings will come to: sentences that refuse nothing.

    ``intent`` is as in :func:`check`. A key may be meant to end soon, so its life is the owner's to judge. Raises
    AirlockError.
    """
    visit = int(intent["visit_days"])
    lives = {
        name: key_scopes.wanted(key, f"airlock_api_keys.{name}")[1]
        for name, key in intent["api_keys"].items()
    }
    short = {name: days for name, days in lives.items() if days < 2 * visit}
    if not short:
        return []
    named = ", ".join(f"{name} (expires_days: {days})" for name, days in short.items())
    return [
        f"airlock_api_keys: {named} may end before anybody renews it, because a key is renewed by the first run of "
        f"site or renew after half of its life, and airlock_visit_days says that you come every {visit} days; let it "
        f"live {2 * visit} days, or come every {max(min(short.values()) // 2, 1)} and say so in airlock_visit_days, "
        "if it is not meant to end."
    ]


def supported(name: str, version: str, systems: Mapping[str, list[str]]) -> list[str]:
    """Check the operating system of a host against the catalog ``systems``."""
    if version in [str(known) for known in systems.get(name, [])]:
        return []
    wanted = ", ".join(f"{system} {known}" for system in systems for known in systems[system])
    return [
        f"The operating system is not supported: expected one of {wanted}, found {name} {version}."
    ]


def way_in(address: str, admin_networks: list[str]) -> list[str]:
    """Check that the address that the controller comes from may come again.

    ``address`` is empty for a connection that is not SSH; it cannot be cut by packet filters.
    """
    networks = [ipaddress.ip_network(network) for network in admin_networks]
    if not address or any(ipaddress.ip_address(address) in network for network in networks):
        return []
    return [
        f"The firewall would lock you out: you reach this host from {address}, which is in none of "
        f"airlock_admin_networks ({', '.join(admin_networks)}); add {address} or its network there."
    ]


def accounts(passwd: Mapping[str, list[str]], first_uid: int, wanted: Sequence[str]) -> list[str]:
    """Check that the static uids are free or ours; ``passwd`` as ``getent`` gives it."""
    findings = []
    by_uid = {int(fields[1]): name for name, fields in passwd.items()}
    for uid, name in enumerate(wanted, first_uid):
        holder = by_uid.get(uid)
        if holder not in (None, name) or (name in passwd and int(passwd[name][1]) != uid):
            found = (
                f"uid {uid} is {holder}"
                if holder not in (None, name)
                else f"{name} has uid {passwd[name][1]}"
            )
            findings.append(
                f"The account {name} cannot have uid {uid}: {found}; set baseline_uid_base to the "
                f"start of {len(wanted)} free uids."
            )
    return findings[:1]


def _port(port: Any) -> list[str]:
    if str(port).isdigit() and 0 < int(port) < 65536:
        return []
    return [f"airlock_listen_port: expected a port from 1 to 65535, found {port}."]


def _networks(variable: str, networks: list[str]) -> list[str]:
    if not networks:
        return [f"{variable} is empty: expected at least one network, for example 192.168.10.0/24."]
    findings = []
    for index, network in enumerate(networks):
        try:
            parsed = ipaddress.ip_network(str(network))
        except ValueError as exc:
            findings.append(f"{variable}[{index}]: {exc}; write it like 192.168.10.0/24.")
            continue
        if parsed.prefixlen == 0:
            findings.append(
                f"{variable}[{index}]: {network} is everybody; name the networks that you use."
            )
    return findings


def _apt_proxy(proxy: str) -> list[str]:
    if not proxy:
        return []
    wanted = "airlock_apt_proxy: expected http://ADDRESS:PORT with an IP address"
    try:
        parts = urlsplit(proxy)
        port = parts.port
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return [
            f"{wanted}, found {proxy}; the host has no name resolution, so a name cannot be used."
        ]
    if parts.scheme != "http" or port is None or parts.path not in ("", "/"):
        return [f"{wanted}, found {proxy}; apt checks signatures, so plain http is safe here."]
    return []


def _server(names: list[str], addresses: list[str]) -> list[str]:
    findings = [
        f"airlock_server_names[{index}]: {name} is not a DNS name in lower case, like ai.home.arpa."
        for index, name in enumerate(names)
        if not _DNS_NAME.fullmatch(str(name))
    ]
    spelled: list[str] = []
    for index, address in enumerate(addresses):
        try:
            spelled.append(str(ipaddress.ip_address(str(address))))
        except ValueError:
            findings.append(f"airlock_server_addresses[{index}]: {address} is not an IP address.")
    findings += [
        f"{variable}: {entry} is there {entries.count(entry)} times; a certificate has it once, so leave it there once."
        for variable, entries in (
            ("airlock_server_names", names),
            ("airlock_server_addresses", spelled),
        )
        for entry in dict.fromkeys(entries)
        if entries.count(entry) > 1
    ]
    if not names and not addresses:
        findings.append(
            "airlock_server_names and airlock_server_addresses are both empty: clients need one of "
            "them to check the certificate against."
        )
    return findings


def _services(services: Mapping[str, Any], models: Mapping[str, Any]) -> list[str]:
    if not services:
        return ["airlock_services is empty: expected at least one service, like chat."]
    findings = []
    for name, service in services.items():
        where = f"airlock_services.{name}"
        if not _SERVICE.fullmatch(str(name)):
            findings.append(f"{where}: expected a name of a-z, 0-9 and -, beginning with a letter.")
        if not isinstance(service, Mapping) or "model" not in service:
            findings.append(f"{where}: expected at least model: NAME.")
            continue
        findings += _fields(where, service, _SERVICE_FIELDS)
        if str(service["model"]) not in models:
            known = ", ".join(sorted(map(str, models))) or "none"
            findings.append(
                f"{where}.model: there is no entry {service['model']} in airlock_models, and none was pulled (there "
                f"are: {known}); add it, pull it from models.yml, or name one of these."
            )
        findings += _loadable(where, str(service["model"]), models)
        for field in ("context", "threads", "parallel"):
            if field in service and not _positive(service[field]):
                findings.append(
                    f"{where}.{field}: expected a whole number above 0, found {service[field]}."
                )
        if service.get("backend", _BACKEND) != _BACKEND:
            findings.append(f"{where}.backend: expected {_BACKEND}, found {service['backend']}.")
        if service.get("mode", "chat") not in ("chat", "embedding"):
            findings.append(f"{where}.mode: expected chat or embedding, found {service['mode']}.")
    return findings


def _loadable(where: str, name: str, models: Mapping[str, Any]) -> list[str]:
    """Check that the backend can load the model; an entry that is none at all is refused elsewhere."""
    try:
        manifest = manifests.manifest(models, name)
    except (AirlockError, KeyError):
        return []
    try:
        weights.of(manifest, where)
    except AirlockError as exc:
        return [str(exc)]
    return []


def _api_keys(keys: Mapping[str, Any], services: Mapping[str, Any]) -> list[str]:
    if not keys:
        return [
            "airlock_api_keys is empty: expected at least one key, or nobody could ask anything."
        ]
    findings = []
    for name, key in keys.items():
        where = f"airlock_api_keys.{name}"
        if not _KEY_ID.fullmatch(str(name)):
            findings.append(f"{where}: expected a name of a-z, 0-9 and -, beginning with a letter.")
        try:
            scope, _days = key_scopes.wanted(key, where)
        except AirlockError as exc:
            findings.append(str(exc))
            continue
        unknown = [service for service in scope.services if service not in services]
        if unknown:
            known = ", ".join(sorted(map(str, services)))
            findings.append(
                f"{where}.services: {unknown[0]} is not in airlock_services; expected some of {known}."
            )
    return findings


def _fields(where: str, entry: Mapping[str, Any], known: set[str]) -> list[str]:
    return [
        f"{where}: there is no field {field}; expected {', '.join(sorted(known))}."
        for field in sorted(set(map(str, entry)) - known)
    ]


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
