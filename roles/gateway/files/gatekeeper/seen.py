# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge says of a client: it sets these headers itself, strips a client's own, and alone reaches the socket."""

from __future__ import annotations

import ipaddress
import re
import secrets

from aiohttp import web
from audit import Entry

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[ -~]{1,64}")  # ub-common-name of RFC 5280


def seen(request: web.BaseRequest) -> Entry:
    """Return the entry that the record of ``request`` begins as: who it came from, before anything is judged."""
    name = request.headers.get("X-Airlock-Cert-Name", "")
    fingerprint = request.headers.get("X-Airlock-Cert", "").lower()
    return Entry(
        secrets.token_hex(8),
        request.method[:16],
        client=_address(request.headers.get("X-Airlock-Client", "")),
        certificate=fingerprint if _FINGERPRINT.fullmatch(fingerprint) else None,
        certificate_name=name if _NAME.fullmatch(name) else None,
    )


def _address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
