# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API key may do: the scope that its owner wrote and that its record carries.

Nothing but ``services`` is mandatory; a field that is absent leaves that side unbounded by the key.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from . import artifacts_schema as schema
from .errors import AirlockError

DEFAULT_DAYS = 30
MAX_DAYS = 366

_MAX_NAMES = 64
_MAX_COUNT = 1_000_000_000
_MAX_GUARDRAIL = 8192
_SERVICE = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_ROUTE = r"/[A-Za-z0-9/_.-]{1,63}"
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d) ([A-Za-z0-9_+/-]{1,64})")
# A client of the house, or 64 hex digits; no text is both.
_CERTIFICATE = r"[a-z][a-z0-9-]{0,30}|[0-9a-f]{64}"
_COUNTS = ("max_tokens", "requests_per_minute", "tokens_per_minute", "concurrency")
_DAY = 24 * 60


@dataclass(frozen=True)
class Hours:
    """Hours of the day, from ``start`` until before ``end``, in minutes after midnight of ``zone``
    (IANA time zone database); when ``end`` comes first they go over midnight."""

    start: int
    end: int
    zone: str

    @classmethod
    def parse(cls, value: Any, where: str) -> Hours:
        """Read ``08:00-18:00 Europe/Zurich``. Raises AirlockError."""
        match = _HOURS.fullmatch(value) if isinstance(value, str) else None
        start, end = (
            (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4]))
            if match
            else (0, 0)
        )
        if match is None or start == end or end > _DAY:
            raise AirlockError.refuse(
                "these are not hours of the day",
                expected="HH:MM-HH:MM ZONE, such as '08:00-18:00 Europe/Zurich'",
                found=repr(value),
                where=where,
            )
        return cls(start, end, match[5])

    def contain(self, moment: datetime) -> bool:
        """Tell whether ``moment`` (with time zone) lies in them. Raises AirlockError."""
        try:
            local = moment.astimezone(zoneinfo.ZoneInfo(self.zone))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise AirlockError.refuse(
                "the time zone is unknown",
                expected="a name of the IANA database such as Europe/Zurich, and tzdata installed",
                found=self.zone,
            ) from exc
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def __str__(self) -> str:
        times = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (self.start, self.end))
        return f"{'-'.join(times)} {self.zone}"


SCREENS = (OFF, FLAG, BLOCK) = ("off", "flag", "block")
FILTERS = (OFF, MASK, STOP) = ("off", "mask", "stop")


@dataclass(frozen=True)
class Scope:
    """What a key may do.

    ``services`` and ``routes`` are names and paths, no route means every route; ``max_tokens`` is
    for one answer, the limits a minute and ``concurrency`` for all requests of one caller;
    ``networks`` are those of clients in CIDR form; ``certificate`` is the common name of the client
    certificate, or the SHA-256 of its DER in 64 hex digits; ``guardrail`` is text that goes before every conversation;
    ``screen`` and ``filter`` take the place of those of the site.
    """

    services: tuple[str, ...]
    routes: tuple[str, ...] = ()
    max_tokens: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    hours: Hours | None = None
    networks: tuple[str, ...] = ()
    certificate: str | None = None
    on_behalf: bool = False
    guardrail: str | None = None
    screen: str | None = None
    filter: str | None = None

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> Scope:
        """Read the fields of a scope, which are among ``FIELDS``. Raises AirlockError."""
        return cls(
            services=_names(
                value.get("services"), f"{where}.services", _SERVICE, "the services", at_least=1
            ),
            routes=_names(value.get("routes", []), f"{where}.routes", _ROUTE, "the paths"),
            hours=Hours.parse(value["hours"], f"{where}.hours") if "hours" in value else None,
            networks=_networks(value.get("networks", []), f"{where}.networks"),
            certificate=schema.text(
                value["certificate"],
                f"{where}.certificate",
                _CERTIFICATE,
                "alice of airlock_clients, or the SHA-256 of a certificate in 64 lower-case hex digits",
            )
            if "certificate" in value
            else None,
            on_behalf=_flag(value.get("on_behalf", False), f"{where}.on_behalf"),
            guardrail=_guardrail(value["guardrail"], f"{where}.guardrail")
            if "guardrail" in value
            else None,
            screen=_choice(value, "screen", SCREENS, where),
            filter=_choice(value, "filter", FILTERS, where),
            **{
                name: schema.integer(value[name], f"{where}.{name}", 1, _MAX_COUNT)
                for name in _COUNTS
                if name in value
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what is said, as plain JSON values."""
        said: dict[str, Any] = {**asdict(self), "hours": str(self.hours) if self.hours else None}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in said.items()
            if value
        }


FIELDS = tuple(field.name for field in fields(Scope))


def wanted(entry: Any, where: str) -> tuple[Scope, int]:
    """Read a key as its owner asks for it: a scope and ``expires_days``; return both.

    An unknown field is refused with the nearest valid one. Raises AirlockError.
    """
    if not isinstance(entry, Mapping):  # what it is may be a secret and is not repeated
        raise AirlockError.refuse("this is not an API key", expected="its scope", where=where)
    said = schema.fields(entry, where, required=(), optional=(*FIELDS, "expires_days"))
    scope = Scope.parse(said, where)
    if scope.hours is not None:
        scope.hours.contain(datetime.now().astimezone())
    days = said.get("expires_days", DEFAULT_DAYS)
    return scope, schema.integer(days, f"{where}.expires_days", 1, MAX_DAYS)


def _names(
    value: Any, where: str, pattern: str, what: str, *, at_least: int = 0
) -> tuple[str, ...]:
    if not isinstance(value, list) or not at_least <= len(value) <= _MAX_NAMES:
        raise AirlockError.refuse(f"expected a list of {what} that this key may use", where=where)
    return tuple(
        sorted({schema.text(name, where, pattern, "chat or /v1/models") for name in value})
    )


def _networks(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_NAMES:
        raise AirlockError.refuse("expected a list of networks", where=where)
    try:
        if not all(isinstance(network, str) for network in value):
            raise ValueError("a network is text")
        return tuple(sorted({str(ipaddress.ip_network(network)) for network in value}))
    except ValueError as exc:
        raise AirlockError.refuse(
            "this is not a network", expected="ADDRESS/PREFIX", found=str(exc), where=where
        ) from exc


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise AirlockError.refuse("expected true or false", found=repr(value), where=where)
    return value


def _choice(value: Mapping[str, Any], name: str, known: tuple[str, ...], where: str) -> str | None:
    if name not in value:
        return None
    # YAML reads a bare off as false.
    return schema.choice(value[name] or "off", f"{where}.{name}", known)


def _guardrail(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_GUARDRAIL:
        raise AirlockError.refuse(
            "this is not a guardrail",
            expected=f"text of at most {_MAX_GUARDRAIL} characters",
            where=where,
        )
    return value
