# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the issuing authority signed and took back: ``issued.json``.

A revocation list has serial numbers alone; here is to whom each belongs, and with which key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..module_utils import canonical
from ..module_utils.errors import AirlockError


@dataclass
class Issued:
    """One certificate that the issuing authority signed. ``revoked`` is a moment or None; ``left`` that its client was
    taken out of the intent since.

    ``key`` is the SHA-256 of its public key (SubjectPublicKeyInfo), empty where only the serial number is known.
    """

    kind: str
    name: str
    serial: int
    sha256: str
    until: datetime
    revoked: datetime | None = None
    key: str = ""
    left: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as ``issued.json`` keeps it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "serial": f"{self.serial:x}",
            "sha256": self.sha256,
            "until": _text(self.until),
            "revoked": _text(self.revoked) if self.revoked else None,
            "key": self.key,
            **({"left": True} if self.left else {}),
        }

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Issued:
        """Return what ``as_dict`` made. Raises KeyError, TypeError and ValueError."""
        return cls(
            entry["kind"],
            entry["name"],
            int(entry["serial"], 16),
            entry["sha256"],
            _moment(entry["until"]),
            _moment(entry["revoked"]) if entry["revoked"] else None,
            entry.get("key", ""),
            entry.get("left") is True,
        )


@dataclass
class Register:
    """Every certificate that counts, oldest first, and the number of the newest revocation list."""

    entries: list[Issued] = field(default_factory=list)
    number: int = 0

    @classmethod
    def of(cls, data: bytes, where: str) -> Register:
        """Return what ``as_bytes`` made. Raises AirlockError."""
        try:
            document = canonical.parse(data, where=where)
            entries = [Issued.of(entry) for entry in document["issued"]]
            return cls(entries, int(document["crl_number"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise AirlockError.refuse(
                "the list of issued certificates cannot be read",
                where=where,
                fix="restore it from a backup of the site directory",
            ) from exc

    def as_bytes(self, now: datetime) -> bytes:
        """Return the content of ``issued.json``, without what ended before ``now`` and no longer matters.

        The newest of each name stays, so that one that was taken back is not forgotten when it ends. So does all that
        was taken back: a clock may have been wrong, and its key is not certified again.
        """
        newest = {(entry.kind, entry.name): entry for entry in self.entries}.values()
        kept = [
            entry.as_dict()
            for entry in self.entries
            if entry.until > now or entry.revoked or entry in newest
        ]
        return canonical.dumps({"version": 1, "crl_number": self.number, "issued": kept}) + b"\n"

    def of_name(self, kind: str, name: str) -> list[Issued]:
        """Return what was issued to a name, the newest last."""
        return [entry for entry in self.entries if (entry.kind, entry.name) == (kind, name)]

    def before(
        self, kind: str, name: str, now: datetime, serial: int | None = None
    ) -> Issued | None:
        """Return what a name had before ``serial``, or its newest, and may still show; None where there is nothing.

        What has a ``serial`` that is not in the register was issued after it: the register comes from a backup.
        """
        ours = self.of_name(kind, name)
        serials = [entry.serial for entry in ours]
        if serial is None:
            ours = ours[:-1]
        elif serial in serials:
            ours = ours[: serials.index(serial)]
        earlier = [entry for entry in ours if not entry.revoked and entry.until > now]
        return earlier[-1] if earlier else None

    def names(self, *kinds: str) -> list[str]:
        """Return the names that ever had one of ``kinds``, sorted."""
        return sorted({entry.name for entry in self.entries if entry.kind in kinds})

    def last_was_revoked(self, kind: str, name: str) -> bool:
        """Tell whether the newest certificate of a name was taken back while the name was wanted."""
        ours = self.of_name(kind, name)
        return bool(ours and ours[-1].revoked and not ours[-1].left)

    def revoked_at(self, now: datetime) -> list[Issued]:
        """Return what belongs on the revocation list: what was taken back and has not ended."""
        return [entry for entry in self.entries if entry.revoked and entry.until > now]

    def has_revoked(self, *, serial: int = 0, key: str = "") -> bool:
        """Tell whether the certificate with ``serial``, or one for ``key``, was ever taken back."""
        return any(
            entry.revoked and (entry.serial == serial or key == entry.key != "")
            for entry in self.entries
        )


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
