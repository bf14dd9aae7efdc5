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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .key_scopes import FIELDS, MAX_DAYS, Scope

OK = "ok"
UNKNOWN = "unknown"
EXPIRED = "expired"
NOT_YET = "not-yet"
REVOKED = "revoked"

MAX_FILE_BYTES = 4 * 1024 * 1024
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
KEY = re.compile(rf"aik_({_ID.pattern})_([A-Za-z0-9_-]{{43}})")
"""The text of a key: its id, its secret."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A key is made on another machine than the one that judges it.
_SKEW = timedelta(minutes=5)
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Retiring:
    """The secret that was there before a rotation: its digest, and until when it is still taken."""

    sha256: str
    until: str


@dataclass(frozen=True)
class KeyRecord:
    """What is stored of a key; times are RFC 3339 in UTC with whole seconds, ``...Z``.

    ``retiring`` is there after a rotation, ``revoked`` (when that was) after a revocation.
    """

    id: str
    sha256: str
    not_before: str
    not_after: str
    scope: Scope
    retiring: Retiring | None = None
    revoked: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values, without what it does not say."""
        said: dict[str, Any] = {
            "id": self.id,
            "sha256": self.sha256,
            "not_before": self.not_before,
            "not_after": self.not_after,
            **self.scope.as_dict(),
        }
        if self.retiring is not None:
            said["retiring"] = {"sha256": self.retiring.sha256, "until": self.retiring.until}
        if self.revoked is not None:
            said["revoked"] = self.revoked
        return said


@dataclass(frozen=True)
class Presented:
    """What a client showed: the id, "" when it was no key at all, and the digest of the secret."""

    id: str
    sha256: str


@dataclass(frozen=True)
class Verdict:
    """How a presented key was judged; ``record`` is there when its secret was right."""

    state: str
    record: KeyRecord | None


def check_id(key_id: Any) -> str:
    """Return ``key_id`` when it may name a key. Raises AirlockError."""
    if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
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
    record = KeyRecord(
        key_id,
        hashlib.sha256(secret.encode("ascii")).hexdigest(),
        format_time(now),
        expiry(now, days),
        Scope(tuple(sorted(set(services)))),
    )
    return f"aik_{key_id}_{secret}", record


def expiry(start: datetime, days: int) -> str:
    """Return the stored form of ``start`` plus ``days``. Raises AirlockError."""
    if not 1 <= days <= MAX_DAYS:
        raise AirlockError.refuse(
            "an API key must expire", expected=f"1 to {MAX_DAYS} days", found=str(days)
        )
    return format_time(start + timedelta(days=days))


def format_time(moment: datetime) -> str:
    """Return the stored form of ``moment``, which has a time zone."""
    return moment.astimezone(timezone.utc).strftime(_TIME_FORMAT)


def parse_time(text: Any, *, where: str) -> datetime:
    """Return the time that a record stores; it has one spelling. Raises AirlockError."""
    try:
        moment = datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)
        if format_time(moment) != text:
            raise ValueError("another spelling")
        return moment
    except (ValueError, TypeError):
        raise AirlockError.refuse(
            "this is not a time", expected="YYYY-MM-DDThh:mm:ssZ", found=repr(text), where=where
        ) from None


def matches(text: str, record: KeyRecord) -> bool:
    """Tell whether ``text`` is the key of ``record``; its validity in time is not looked at."""
    shown = present(text)
    return hmac.compare_digest(shown.sha256, record.sha256) and shown.id == record.id


def present(text: str) -> Presented:
    """Return what is kept of a presented key while its request is served: no secret. Never raises."""
    match = KEY.fullmatch(text)
    key_id, secret = match.groups() if match else ("", "")
    return Presented(key_id, hashlib.sha256(secret.encode("ascii")).hexdigest())


def verify(text: str, records: Mapping[str, KeyRecord], now: datetime) -> Verdict:
    """Judge a presented key; never raises. See :func:`judge`."""
    return judge(present(text), records, now)


def judge(shown: Presented, records: Mapping[str, KeyRecord], now: datetime) -> Verdict:
    """Judge what a client showed against the records of now; never raises.

    An unknown id costs the same comparisons as a known one, and whether a key has expired or was
    revoked is told only to a caller who has its secret. After a rotation the secret before it is
    taken until the overlap ends, and is expired from then on.
    """
    record = records.get(shown.id)
    retiring = record.retiring if record else None
    right = hmac.compare_digest(shown.sha256, record.sha256 if record else _NO_DIGEST)
    before = hmac.compare_digest(shown.sha256, retiring.sha256 if retiring else _NO_DIGEST)
    if record is None or not (right or before):
        return Verdict(UNKNOWN, None)
    if record.revoked is not None:
        return Verdict(REVOKED, record)
    # Times in the stored form sort as they pass.
    if right and format_time(now + _SKEW) < record.not_before:
        return Verdict(NOT_YET, record)
    until = record.not_after if right or retiring is None else retiring.until
    return Verdict(EXPIRED if format_time(now) >= until else OK, record)


def from_dict(value: Any, *, where: str) -> KeyRecord:
    """Return the record that ``value`` (see :meth:`KeyRecord.as_dict`) holds. Raises AirlockError."""
    mandatory = ("id", "sha256", "not_before", "not_after", "services")
    said = schema.fields(
        value,
        where,
        required=mandatory,
        optional=("retiring", "revoked", *(name for name in FIELDS if name not in mandatory)),
    )
    retiring = None
    if "retiring" in said:
        old = schema.fields(said["retiring"], f"{where}.retiring", required=("sha256", "until"))
        retiring = Retiring(_digest(old["sha256"], where), _time(old["until"], f"{where}.until"))
    return KeyRecord(
        check_id(said["id"]),
        _digest(said["sha256"], where),
        _time(said["not_before"], f"{where}.not_before"),
        _time(said["not_after"], f"{where}.not_after"),
        Scope.parse(said, where),
        retiring,
        _time(said["revoked"], f"{where}.revoked") if "revoked" in said else None,
    )


def _digest(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise AirlockError.refuse("sha256 is not 64 hex digits", where=where)
    return value


def _time(value: Any, where: str) -> str:
    parse_time(value, where=where)
    return str(value)


def load(data: bytes, *, where: str) -> dict[str, KeyRecord]:
    """Parse the host's key file, ``{"keys": [record, ...]}``; return the records by id.

    Raises AirlockError.
    """
    return of_document(canonical.loads(data, where=where, max_bytes=MAX_FILE_BYTES), where=where)


def of_document(document: Any, *, where: str) -> dict[str, KeyRecord]:
    """Return the records by id of a key file that was parsed. Raises AirlockError."""
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
