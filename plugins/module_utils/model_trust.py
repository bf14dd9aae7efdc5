# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose signature a model has to have: ``signature`` of an entry in the catalog of models.

::

    {"type": "key", "bundle": "trust/smollm2.sig", "key": "trust/publisher.pub"}
    {"type": "certificate", "bundle": "…", "ca": "trust/publisher-ca.pem",
     "identity": "release@models.example", "as_of": "2026-11-21"}

Paths are those of the controller; relative ones begin in the site directory.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import artifacts_schema as schema
from .errors import AirlockError

_PATH = r"[^\0\n]{1,4096}"
_IDENTITY = r"[^\0\n]{1,500}"


@dataclass(frozen=True)
class Trust:
    """What has to have signed the model, and where the signature (``bundle``) is.

    ``anchor`` is the file with the public key, or with the authorities that certify ``identity``.
    ``as_of`` is the day on which the certificate has to have been valid, None for today.
    """

    type: str
    bundle: str
    anchor: str
    identity: str = ""
    as_of: datetime.date | None = None


def parse(value: Any, where: str) -> Trust:
    """Read a ``signature`` entry. Raises AirlockError."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if schema.choice(kind, f"{where}.type", ("key", "certificate")) == "key":
        entry = schema.fields(value, where, required=("type", "bundle", "key"))
        return Trust("key", _path(entry, "bundle", where), _path(entry, "key", where))
    entry = schema.fields(
        value, where, required=("type", "bundle", "ca", "identity"), optional=("as_of",)
    )
    return Trust(
        "certificate",
        _path(entry, "bundle", where),
        _path(entry, "ca", where),
        schema.text(entry["identity"], f"{where}.identity", _IDENTITY, "release@models.example"),
        _day(entry["as_of"], f"{where}.as_of") if "as_of" in entry else None,
    )


def _path(entry: dict[str, Any], key: str, where: str) -> str:
    return schema.text(entry[key], f"{where}.{key}", _PATH, f"trust/{key}")


def _day(value: Any, where: str) -> datetime.date:
    try:
        # YAML makes a date of what looks like one.
        return datetime.date.fromisoformat(str(value))
    except ValueError as exc:
        raise AirlockError.refuse(
            "this is not a day", expected="YYYY-MM-DD", found=repr(value), where=where
        ) from exc
