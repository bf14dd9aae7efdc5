# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DSSE envelopes around in-toto statements: what is signed, apart from how.

DSSE 1.0 (github.com/secure-systems-lab/dsse, envelope.md and protocol.md); in-toto Statement v1
(github.com/in-toto/attestation, spec/v1/statement.md).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..module_utils import artifacts_schema as schema
from ..module_utils import canonical
from ..module_utils.errors import AirlockError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_MAX_SIGNATURE = 1024


@dataclass(frozen=True)
class Envelope:
    """The statement as it was signed, byte by byte, and its one signature; nothing is verified yet."""

    payload: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes under the signature: the pre-authentication encoding of the payload."""
        return _encoded(self.payload)


def wrap(statement: Mapping[str, Any]) -> bytes:
    """Return the canonical payload for a statement; ``Envelope(payload, b"").signed`` is to be signed."""
    return canonical.dumps(statement)


def document(envelope: Envelope, key_id: str) -> dict[str, Any]:
    """Return the envelope as a value for JSON."""
    return {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(envelope.signature).decode()}],
    }


def parse(value: Any, where: str) -> Envelope:
    """Read an envelope with exactly one signature. Raises AirlockError."""
    entry = schema.fields(value, where, required=("payload", "payloadType", "signatures"))
    schema.choice(entry["payloadType"], f"{where}: payloadType", (PAYLOAD_TYPE,))
    signatures = entry["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        found = len(signatures) if isinstance(signatures, list) else type(signatures).__name__
        raise AirlockError.refuse(
            "the envelope does not have one signature",
            expected="a list of 1",
            found=str(found),
            where=where,
        )
    signature = schema.fields(signatures[0], where, required=("sig",), optional=("keyid",))
    sealed = decode(signature["sig"], f"{where}: sig")
    if len(sealed) > _MAX_SIGNATURE:
        raise AirlockError.refuse(
            "the signature is too long",
            expected=f"at most {_MAX_SIGNATURE} bytes",
            found=f"{len(sealed)} bytes",
            where=where,
        )
    return Envelope(decode(entry["payload"], f"{where}: payload"), sealed)


def statement(envelope: Envelope, predicate_type: str, where: str) -> tuple[str, str, Any]:
    """Return name and SHA-256 of the one subject, and the predicate. Raises AirlockError.

    To be called after the signature was verified.
    """
    entry = schema.fields(
        canonical.loads(envelope.payload, where=where),
        where,
        required=("_type", "subject", "predicateType"),
        optional=("predicate",),
    )
    schema.choice(entry["_type"], f"{where}: _type", (STATEMENT_TYPE,))
    schema.choice(entry["predicateType"], f"{where}: predicateType", (predicate_type,))
    subjects = entry["subject"]
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise AirlockError.refuse("the statement does not have one subject", where=where)
    subject = schema.fields(subjects[0], f"{where}: subject", required=("name", "digest"))
    digest = schema.fields(subject["digest"], f"{where}: digest", required=("sha256",))
    return (
        schema.text(subject["name"], f"{where}: name", r"[^\0\n]{0,255}", "model"),
        schema.sha256(digest["sha256"], f"{where}: digest"),
        entry.get("predicate"),
    )


def decode(value: Any, where: str) -> bytes:
    """Return the bytes of standard base64 with padding and nothing else. Raises AirlockError."""
    try:
        data = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        data = None
    if data is None or base64.b64encode(data).decode() != value:
        raise AirlockError.refuse("this is not base64 as it is written", where=where)
    return data


def _encoded(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
