# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller knows of the audit trail of a host: first keys, and how far it went at each visit.

``secrets/audit/<host>.<trail>.key`` holds a first key, ``state/<host>.audit.json`` the visits::

    {"trail": "<16 hex digits>", "begun": 1795000000, "heads": [{"seq": 7, "sha256": "<hex>", "when": 1795255200}],
     "before": [{"trail": "<16 hex digits>", "seq": 9, "sha256": "<hex>"}],
     "beginning": {"first": 1, "size": 4294967296}}

Times are in seconds since 1970. ``beginning`` is that of the last visit: with which record the trail began, and how
many bytes it was allowed to take.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..module_utils import artifacts_schema as schema
from ..module_utils import canonical
from ..module_utils.audit_proof import Head
from ..module_utils.errors import AirlockError
from ..module_utils.files import alone, read_limited, write_atomic
from . import signing

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography.hazmat.primitives import serialization

_TRAIL = "[0-9a-f]{16}"
_MAX_HEADS = 200
_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Beginning:
    """First record and allowed bytes at the last visit, and the last record then; 0 where there was none."""

    first: int = 0
    size: int = 0
    last: int = 0


class Visits:
    """The files of one host."""

    def __init__(self, site_dir: Path, host: str, passphrase: str = ""):
        self._site = site_dir
        self._host = host
        self._passphrase = passphrase
        self._path = site_dir / "state" / f"{host}.audit.json"

    def begin(self, now: int) -> tuple[str, bytes, str]:
        """Return name and first key of a new trail, and how the one before ended, in words.

        ``now`` is in seconds; nothing in the trail is older. Both files are written. Raises AirlockError, OSError.
        """
        trail = secrets.token_hex(8)
        self._path.parent.mkdir(mode=0o755, exist_ok=True)
        (self._site / "secrets").mkdir(mode=0o700, exist_ok=True)
        (self._site / "secrets" / "audit").mkdir(mode=0o700, exist_ok=True)
        key = self._key(trail)
        with alone(str(self._path.parent)):
            known = self._read()
            before, said = known["before"], "none"
            if known["trail"]:
                last = known["heads"][-1] if known["heads"] else {"seq": 0, "sha256": ""}
                before = [
                    *before,
                    {"trail": known["trail"], "seq": last["seq"], "sha256": last["sha256"]},
                ]
                said = f"trail {known['trail']}, last seen at record {last['seq']}"
            self._write({"trail": trail, "begun": now, "heads": [], "before": before})
        return trail, key, said

    def first_key(self, trail: str) -> bytes:
        """Return the first key of the trail that the host shows. Raises AirlockError if it is not ours."""
        expected = self._read()["trail"]
        if trail != expected or not self._file(trail).exists():
            raise AirlockError.refuse(
                f"the audit trail of {self._host} is not the one that this controller began",
                expected=f"trail {expected or 'none'} and its key",
                found=f"trail {trail or 'none'}",
                where=str(self._file(expected)) if expected else str(self._path),
                fix="if the site directory is an old one, bring the newest; otherwise treat the host as taken",
            )
        return self._key(trail)

    def begun(self) -> int:
        """Return when the trail was begun; 0 where that was not written down."""
        return int(self._read().get("begun", 0))

    def heads(self, kept_since: int) -> list[Head]:
        """Return the records that earlier visits saw; none after ``kept_since`` (seconds) has expired."""
        return [
            Head(
                head["seq"],
                head["sha256"],
                "an earlier visit",
                early=head["when"] > kept_since,
            )
            for head in self._read()["heads"]
        ]

    def beginning(self) -> Beginning:
        """Return where the trail began at the last visit."""
        known = self._read()
        last = known["heads"][-1]["seq"] if known["heads"] else 0
        return Beginning(**known.get("beginning", {}), last=last)

    def remember(self, trail: str, seq: int, sha256: str, now: int, beginning: Beginning) -> None:
        """Keep how far the trail goes, and from where. Raises AirlockError, OSError."""
        with alone(str(self._path.parent)):
            known = self._read()
            newest = known["heads"][-1]["seq"] if known["heads"] else 0
            if known["trail"] != trail or seq < newest:
                return  # another run was faster
            heads = known["heads"]
            if seq > newest:
                heads = [*heads, {"seq": seq, "sha256": sha256, "when": now}][-_MAX_HEADS:]
            begins = {"first": beginning.first, "size": beginning.size}
            self._write({**known, "heads": heads, "beginning": begins})

    def _file(self, trail: str) -> Path:
        return self._site / "secrets" / "audit" / f"{self._host}.{trail}.key"

    def _key(self, trail: str) -> bytes:
        """Return the 32 bytes, kept as what an Ed25519 key is made of, so that one lock serves both."""
        path = self._file(trail)
        key = signing.load_or_make_at(path, self._passphrase)
        return key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )

    def _read(self) -> dict[str, Any]:
        where = str(self._path)
        try:
            data = read_limited(where, _LIMIT)
        except FileNotFoundError:
            return {"trail": "", "heads": [], "before": []}
        known = schema.fields(
            canonical.loads(data, where=where),
            where,
            required=("trail", "heads", "before"),
            optional=("beginning", "begun"),
        )
        schema.integer(known.get("begun", 0), f"{where}: begun", 0, 2**53)
        schema.text(known["trail"], f"{where}: trail", _TRAIL, "16 hex digits")
        for head in known["heads"]:
            schema.integer(head["seq"], f"{where}: seq", 1, 2**53)
            schema.integer(head["when"], f"{where}: when", 0, 2**53)
            schema.sha256(head["sha256"], f"{where}: sha256")
        if "beginning" in known:
            begins = schema.fields(
                known["beginning"], f"{where}: beginning", required=("first", "size")
            )
            for name, value in begins.items():
                schema.integer(value, f"{where}: beginning.{name}", 1, 2**53)
        return dict(known)

    def _write(self, known: dict[str, Any]) -> None:
        write_atomic(str(self._path), canonical.dumps(known) + b"\n", mode=0o600)
