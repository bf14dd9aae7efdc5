# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: the key, where it comes from, and the person behind a shared client."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from aiohttp import web
from airlock import api_keys, request_policy
from airlock.api_keys import KeyRecord, Presented
from airlock.key_scopes import Scope
from airlock.request_policy import Refusal
from audit import Entry

# What a shared client may name a person by, the first that is there counts. Open WebUI sends the
# first two with ENABLE_FORWARD_USER_INFO_HEADERS.
_SUBJECT_HEADERS = ("X-OpenWebUI-User-Id", "X-OpenWebUI-User-Email", "X-On-Behalf-Of")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+%-]{0,127}")
_KEY_REFUSALS = {
    api_keys.UNKNOWN: ("unknown_key", "This API key is not known."),
    api_keys.EXPIRED: ("expired_key", "This API key has expired."),
    api_keys.NOT_YET: ("key_not_yet_valid", "This API key is not valid yet."),
    api_keys.REVOKED: ("revoked_key", "This API key was revoked."),
}


@dataclass(frozen=True)
class Caller:
    """One who was let in. ``certificates`` are the names of the certificate shown: its digest, its client's name, or
    nothing; ``subject`` is the person that a shared client named, else None."""

    scope: Scope
    shown: Presented
    address: str | None
    certificates: frozenset[str]
    subject: str | None

    @property
    def name(self) -> tuple[str, str]:
        """Return what tells callers apart: the key, and the subject or ""."""
        return self.shown.id, self.subject or ""

    def require_route(self, path: str) -> None:
        """Refuse a route that the key does not open. Raises Refusal (403)."""
        if self.scope.routes and path not in self.scope.routes:
            raise Refusal(403, "route_not_allowed", f"This API key does not open {path}.")


class Callers:
    """Judges keys by the records of now; ``records`` raises AirlockError when there are none."""

    def __init__(self, records: Callable[[], Mapping[str, KeyRecord]]):
        self._records = records

    def admit(self, request: web.BaseRequest, entry: Entry) -> Caller:
        """Return who asks; ``entry`` learns it. Raises Refusal (400, 401, 403)."""
        text = request_policy.credential(request.headers.items())
        if text is None:
            raise Refusal(401, "no_key", "This route needs an API key.")
        shown = api_keys.present(text)
        certificates = frozenset(filter(None, (entry.certificate, entry.certificate_name)))
        scope = self._judge(shown, entry.client, certificates, entry)
        entry.subject = _subject(request) if scope.on_behalf else None
        return Caller(scope, shown, entry.client, certificates, entry.subject)

    def recheck(self, caller: Caller, path: str, service: str | None) -> None:
        """Refuse a caller who would not be let in any more, to this route and service. Raises Refusal (401, 403)."""
        scope = self._judge(caller.shown, caller.address, caller.certificates)
        replace(caller, scope=scope).require_route(path)
        if service is not None and service not in scope.services:
            raise Refusal(
                403, "model_not_allowed", "This API key does not open the model any more."
            )

    def _judge(
        self,
        shown: Presented,
        address: str | None,
        certificates: frozenset[str],
        entry: Entry | None = None,
    ) -> Scope:
        now = datetime.now(timezone.utc)
        verdict = api_keys.judge(shown, self._records(), now)
        if verdict.record is not None and entry is not None:
            entry.key = verdict.record.id
        if verdict.state != api_keys.OK or verdict.record is None:
            raise Refusal(401, *_KEY_REFUSALS[verdict.state])
        scope = verdict.record.scope
        if scope.networks and not _is_in(address, scope.networks):
            raise Refusal(
                403, "network_not_allowed", "This API key is not for the network of this client."
            )
        if scope.certificate and scope.certificate not in certificates:
            raise Refusal(
                403, "wrong_certificate", "This API key is bound to another client certificate."
            )
        if scope.hours and not scope.hours.contain(now):
            raise Refusal(403, "outside_hours", f"This API key is good during {scope.hours}.")
        return scope


def _is_in(address: str | None, networks: tuple[str, ...]) -> bool:
    if address is None:
        return False
    client = ipaddress.ip_address(address)
    return any(client in ipaddress.ip_network(network) for network in networks)


def _subject(request: web.BaseRequest) -> str | None:
    values = [request.headers[name] for name in _SUBJECT_HEADERS if name in request.headers]
    if not values:
        return None
    if not _SUBJECT.fullmatch(values[0]):
        raise Refusal(400, "bad_subject", "The name of the person behind this client is no name.")
    return values[0]
