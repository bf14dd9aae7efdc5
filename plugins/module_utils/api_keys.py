# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys: how they look, what is stored of them, and who may do what with one.

A key is ``aik_<id>_<secret>``; the secret is 256 random bits, 43 characters of base64url
(RFC 4648 section 5). A secret of that size cannot be guessed from its digest, so one plain
SHA-256 is stored and no slow password hash is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from . import canonical
from .errors import AirlockError

OK = "ok"
UNKNOWN = "unknown"
EXPIRED = "expired"
NOT_YET = "not-yet"

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY = re.compile(rf"aik_({_ID.pattern})_([A-Za-z0-9_-]{{43}})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A key is made on another machine than the one that judges it.
_SKEW = timedelta(minutes=5)
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_NO_DIGEST = "0" * 64
_MAX_DAYS = 3660


@dataclass(frozen=True)
class KeyRecord:
    """What is stored of a key; times are RFC 3339 in UTC with whole seconds, ``...Z``."""

    id: str
    sha256: str
    not_before: str
    not_after: str
    services: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {**asdict(self), "services": list(self.services)}


@dataclass(frozen=True)
class Verdict:
    """How a presented key was judged; ``record`` is there when its secret was right."""

    state: str
    record: KeyRecord | None


def check_id(key_id: str) -> str:
    """Return ``key_id`` when it may name a key. Raises AirlockError."""
    if not _ID.fullmatch(key_id):
        raise AirlockError.refuse(
            "this cannot be the id of an API key",
            expected="1 to 32 small letters, digits and hyphens, no hyphen first",
            found=repr(key_id),
        )
    return key_id


def generate(
    key_id: str, services: Iterable[str], *, days: int, now: datetime
) -> tuple[str, KeyRecord]:
    """Make a new key that is good from ``now`` for ``days`` days; return its text and its record.

    The text is the only copy of the secret. Raises AirlockError.
    """
    check_id(key_id)
    secret = secrets.token_urlsafe(32)
    start = now.astimezone(timezone.utc)
    record = KeyRecord(
        key_id,
        hashlib.sha256(secret.encode("ascii")).hexdigest(),
        start.strftime(_TIME_FORMAT),
        expiry(start, days),
        tuple(sorted(set(services))),
    )
    return f"aik_{key_id}_{secret}", record


def expiry(start: datetime, days: int) -> str:
    """Return the stored form of ``start`` plus ``days``. Raises AirlockError."""
    if not 1 <= days <= _MAX_DAYS:
        raise AirlockError.refuse(
            "an API key must expire", expected=f"1 to {_MAX_DAYS} days", found=str(days)
        )
    return (start + timedelta(days=days)).strftime(_TIME_FORMAT)


def parse_time(text: str, *, where: str) -> datetime:
    """Return the time that a record stores. Raises AirlockError."""
    try:
        return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        raise AirlockError.refuse(
            "this is not a time", expected="YYYY-MM-DDThh:mm:ssZ", found=repr(text), where=where
        ) from None


def matches(text: str, record: KeyRecord) -> bool:
    """Tell whether ``text`` is the key of ``record``; its validity in time is not looked at."""
    key_id, digest = _split(text)
    return hmac.compare_digest(digest, record.sha256) and key_id == record.id


def verify(text: str, records: dict[str, KeyRecord], now: datetime) -> Verdict:
    """Judge a presented key; never raises.

    An unknown id costs the same hash and comparison as a known one, and whether a key has
    expired is told only to a caller who has its secret.
    """
    key_id, digest = _split(text)
    record = records.get(key_id)
    right = hmac.compare_digest(digest, record.sha256 if record else _NO_DIGEST)
    if record is None or not right:
        return Verdict(UNKNOWN, None)
    if now < parse_time(record.not_before, where=key_id) - _SKEW:
        return Verdict(NOT_YET, record)
    if now >= parse_time(record.not_after, where=key_id):
        return Verdict(EXPIRED, record)
    return Verdict(OK, record)


def from_dict(value: Any, *, where: str) -> KeyRecord:
    """Return the record that ``value`` (see :meth:`KeyRecord.as_dict`) holds. Raises AirlockError."""
    names = {"id": str, "sha256": str, "not_before": str, "not_after": str, "services": list}
    if not isinstance(value, dict) or set(value) != set(names):
        raise AirlockError.refuse(
            "this is not the record of an API key", expected=", ".join(names), where=where
        )
    for name, kind in names.items():
        if not isinstance(value[name], kind):
            raise AirlockError.refuse(
                f"{name} has the wrong type",
                expected=kind.__name__,
                found=type(value[name]).__name__,
                where=where,
            )
    if not _DIGEST.fullmatch(value["sha256"]):
        raise AirlockError.refuse("sha256 is not 64 hex digits", where=where)
    if not all(isinstance(service, str) for service in value["services"]):
        raise AirlockError.refuse("services are names", where=where)
    check_id(value["id"])
    for name in ("not_before", "not_after"):
        parse_time(value[name], where=f"{where}: {name}")
    return KeyRecord(**{**value, "services": tuple(value["services"])})


def load(data: bytes, *, where: str) -> dict[str, KeyRecord]:
    """Parse the host's key file, ``{"keys": [record, ...]}``; return the records by id.

    Raises AirlockError.
    """
    document = canonical.loads(data, where=where, max_bytes=4 * 1024 * 1024)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise AirlockError.refuse("the key file has no list of keys", where=where)
    records = {
        record.id: record
        for record in (
            from_dict(entry, where=f"{where}: keys[{index}]") for index, entry in enumerate(entries)
        )
    }
    if len(records) != len(entries):
        raise AirlockError.refuse("an id appears twice", where=where)
    return records


def _split(text: str) -> tuple[str, str]:
    """Return the id and the digest of the secret; an id of "" when ``text`` is no key at all."""
    match = _KEY.fullmatch(text)
    key_id, secret = match.groups() if match else ("", "")
    return key_id, hashlib.sha256(secret.encode("ascii")).hexdigest()
