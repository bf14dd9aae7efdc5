# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The revocation list (RFC 5280, section 5): made from what is known here, and held against the lists out there.

A site directory that was restored or copied knows less than the hosts do. What they have carries the signature of our
own key and a number that only grows (section 5.2.3), so that nothing on it is ever forgotten for an older one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..module_utils.errors import AirlockError
from . import certificates
from .certificates import Identity
from .issued import Issued, Register

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

# What is on a list and in no register: nobody here knows whose it was.
UNKNOWN = "unknown"
_LIMIT = 1024 * 1024
_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----[A-Za-z0-9+/=\s]+-----END X509 CRL-----")
_WHOLE_LIMIT = 8  # lists in a file; ours have two


@dataclass
class Taken:
    """What came of looking at a list: what was learned of it, and what the owner has to hear."""

    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def is_due(
    data: bytes | None, register: Register, issuing: Identity, now: datetime, days: int
) -> bool:
    """Tell whether the list ``data`` has to be made anew: it is none of ours, not complete, or not of now.

    ``days`` is how long one lives that is made now.
    """
    if data is None:
        return True
    try:
        found = _ours([data], issuing, "issuing.crl")
    except AirlockError:
        return True
    return (
        found is None
        or {entry.serial_number for entry in found}
        != {entry.serial for entry in register.revoked_at(now)}
        or _number(found) < register.number
        or certificates.is_due(found, now)
        or certificates.outlives(found, now, days)
    )


def make(register: Register, issuing: Identity, now: datetime, days: int) -> bytes:
    """Return the next list in PEM, good for ``days``."""
    register.number += 1
    revoked = [(entry.serial, entry.revoked or now) for entry in register.revoked_at(now)]
    end = now + timedelta(days=days)
    crl = certificates.make_crl(issuing, revoked, register.number, now, end)
    return crl.public_bytes(Encoding.PEM)


def take_over(
    register: Register, issuing: Identity, lists: Mapping[str, bytes], until: datetime
) -> Taken:
    """Enter in ``register`` what ``lists``, by where each comes from, know beyond it.

    A list says nothing of when a certificate ends; one that nobody here knows stays on it to ``until``.

    Only a list that ``issuing`` signed says anything; one that cannot be read, or is somebody else's, is a warning,
    because a host with such a file is to be repaired. Nothing is ever struck out.
    """
    taken = Taken()
    for where, data in lists.items():
        try:
            found = _ours(_blocks(data, where), issuing, where)
        except AirlockError as exc:
            taken.warnings.append(f"{exc} What it said of revoked certificates is not known here.")
            continue
        if found is None:
            taken.warnings.append(
                f"{where}: the revocation list is not of this authority, and nothing was learned from it."
            )
            continue
        learned = _learn(register, where, found, until)
        if learned or _number(found) > register.number:
            taken.warnings.append(
                f"What is known here is older than {where}: revocation list number {register.number} here, "
                f"{_number(found)} there. What is revoked there stays revoked; what was issued since the backup is not "
                "known here, and only a new root takes it back (docs/guides/certificates.md, The root)."
            )
            learned.append(f"the next revocation list is newer than that of {where}")
        taken.reasons += learned
        register.number = max(register.number, _number(found))
    return taken


def numbered(data: bytes, where: str) -> dict[str, Any]:
    """Return the number of the first list in ``data``, PEM, as ``serial``, and whose it is as ``series``.

    Raises AirlockError.
    """
    try:
        crl = x509.load_pem_x509_crl(data)
        return {"serial": _number(crl), "series": crl.issuer.rfc4514_string()}
    except (ValueError, x509.ExtensionNotFound) as exc:
        raise AirlockError.refuse(
            "this is no revocation list with a number", expected="PEM", where=where
        ) from exc


def _learn(
    register: Register, where: str, found: x509.CertificateRevocationList, until: datetime
) -> list[str]:
    """Enter what ``found`` has beyond ``register``; return a sentence for each."""
    known = {entry.serial: entry for entry in register.entries}
    learned = []
    for listed in found:
        serial = listed.serial_number
        entry = known.get(serial)
        if entry is None:
            entry = Issued(UNKNOWN, f"{serial:x}", serial, "", until)
            register.entries.append(entry)
        if entry.revoked is None:
            entry.revoked = listed.revocation_date_utc
            learned.append(f"revoked {entry.kind} {entry.name}, serial {serial:x}, as {where} says")
    return learned


def _blocks(data: bytes, where: str) -> list[bytes]:
    """Return the lists in a file, each in PEM. Raises AirlockError."""
    found = [match.group() for match in _BLOCK.finditer(data)] if len(data) <= _LIMIT else []
    if not 0 < len(found) <= _WHOLE_LIMIT:
        raise _unreadable(where, f"{len(data)} bytes with {len(found)} lists")
    return found


def _ours(
    blocks: list[bytes], issuing: Identity, where: str
) -> x509.CertificateRevocationList | None:
    """Return the list that ``issuing`` signed, None where there is none. Raises AirlockError."""
    for block in blocks:
        try:
            found = x509.load_pem_x509_crl(block)
            key = issuing.certificate.public_key()
            # Nothing of it is looked at before whose it is.
            if isinstance(key, ec.EllipticCurvePublicKey) and found.is_signature_valid(key):
                return found
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise _unreadable(where, str(exc) or type(exc).__name__) from exc
    return None


def _unreadable(where: str, found: str) -> AirlockError:
    return AirlockError.refuse(
        "the revocation list cannot be read",
        expected=f"PEM, at most {_LIMIT} bytes",
        found=found,
        where=where,
    )


def _number(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
