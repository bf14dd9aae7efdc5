# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate authority of the house: what it has, what it issued, what it took back.

It lies below ``pki/`` of the site directory. The root signs the issuing authority and the root's
own revocation list and nothing else; its key is encrypted, and may be kept elsewhere until it is
needed. The issuing authority signs everything else and can speak for the hosts of this house alone.

Everything is worked out in memory; ``Authority.opened`` writes it at the end, unless it is to be
predicted only.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..module_utils.errors import AirlockError
from ..module_utils.files import alone
from . import certificates, revocation_lists
from .certificates import Identity, Scope
from .issued import Issued, Register
from .staged_files import StagedFiles, pem

with contextlib.suppress(ImportError):  # ansible-core brings it; ansible-test imports without it
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

HOST, CLIENT, PROBE = "host", "client", "probe"
# Clients cannot have such a name: what a probe shows is never taken for one of theirs.
PROBE_NAME = "airlock probe {}"
# Nor a probe that of a witness, which is taken back with the client whose name it has.
WITNESS_NAME = "airlock probe of {}"
_REVOKED_PROBE = PROBE_NAME.format("revoked")
# What the root needs to sign, below the site directory.
_ROOT_KEY, _ROOT_OPENED_BY = "pki/root.key", "secrets/root.passphrase"
# The issuing authority has to outlive what it signs by far: it is renewed with this many days left.
ISSUING_LEFT = timedelta(days=365)
_RENEW_ROOT = "bring {} back into that directory for this run"
_NEW_ROOT = "make a new root (docs/guides/certificates.md, The root)"
# Written after issued.json, so that it is there where one of these is.
_FROM_THE_FIRST_RUN = ("ca.pem", "issuing.key", "issuing.pem")


@dataclass
class Authority(StagedFiles):
    """The authority in one run; use ``opened``."""

    site: Path
    now: datetime
    passphrase: str = ""
    warnings: list[str] = field(default_factory=list)
    register: Register = field(default_factory=Register)
    _issuing: Identity | None = None

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, site: Path, now: datetime, *, passphrase: str = "", check: bool = False
    ) -> Iterator[Authority]:
        """Give the authority of ``site`` to one process at a time, and write what it did.

        Raises AirlockError and OSError.
        """
        directory = site / "pki"
        if check:
            yield cls._loaded(site, now, passphrase)
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(str(directory)):
            authority = cls._loaded(site, now, passphrase)
            yield authority
            path, data = directory / "issued.json", authority.register.as_bytes(authority.now)
            if data != authority.read(path):
                authority.write(path, data, mode=0o600)
            # What was issued and taken back is written before anything that follows from it: the next run makes up for
            # what a power cut left undone, and nothing is out there that nobody knows of.
            authority.write_all(first=path)

    @classmethod
    def _loaded(cls, site: Path, now: datetime, passphrase: str) -> Authority:
        authority = cls(site, now.replace(microsecond=0), passphrase)
        path = authority.directory / "issued.json"
        data = authority.read(path)
        if data is not None:
            authority.register = Register.of(data, str(path))
        elif any((authority.directory / name).exists() for name in _FROM_THE_FIRST_RUN):
            raise AirlockError.refuse(
                "the list of what this authority issued is gone, and whoever was revoked would be let in again",
                where=str(path),
                fix=f"restore it from the newest backup of the site directory; where there is none, {_NEW_ROOT}",
            )
        return authority

    @property
    def directory(self) -> Path:
        """Return where the authority lies."""
        return self.site / "pki"

    @property
    def issuing(self) -> Identity:
        """Return what signs. Raises AirlockError before ``ensure`` made it."""
        if self._issuing is None:
            certificate = self.certificate(self.directory / "issuing.pem")
            if certificate is None:
                raise AirlockError.refuse(
                    "this site has no authority yet", where=str(self.directory), fix="run site.yml"
                )
            self._issuing = Identity(certificate, self.key(self.directory / "issuing.key"))
        return self._issuing

    def ensure(
        self,
        scope: Scope,
        days: int,
        *,
        longest: int = 0,
        placed: Mapping[str, bytes] | None = None,
    ) -> None:
        """Make what is missing, renew what is due, for ``scope``; lists live ``days``.

        ``longest`` is the life in days of what it signs, where that is more. ``placed`` is for ``take_over``.
        Raises AirlockError, among others when the root's key is needed and not there.
        """
        self._ensure_issuing(scope, timedelta(days=max(days, longest)))
        self.take_over(placed or {})
        probe = self.certificate(self.directory / "probe.pem")
        if (
            probe is None
            or not self.living(PROBE, _REVOKED_PROBE)
            or probe.not_valid_before_utc > self.now
            or not certificates.is_issued_by(probe, self.issuing)
        ):
            self._make_probe()
        self._ensure_crl(days)

    def take_over(self, placed: Mapping[str, bytes]) -> None:
        """Have all that is revoked on ``placed``, the lists of hosts by their names, stay revoked.

        So does what is on the list here: ``issued.json`` alone may have come from a backup.
        """
        path = self.directory / "issuing.crl"
        here = self.read(path)
        lists = {} if here is None else {str(path): here}
        # Nothing outlives the root; the issuing authority may have been renewed since the backup.
        root = self.certificate(self.directory / "ca.pem") or self.issuing.certificate
        taken = revocation_lists.take_over(
            self.register, self.issuing, {**lists, **placed}, root.not_valid_after_utc
        )
        self.reasons += taken.reasons
        self.warnings += taken.warnings

    def sign(
        self,
        kind: str,
        name: str,
        key: Any,
        life: timedelta,
        *,
        server: Scope | None = None,
    ) -> bytes:
        """Issue a certificate for the public ``key`` and return it in PEM, with its issuer's.

        Raises AirlockError for a key that was taken back with a certificate of before.
        """
        digest = certificates.fingerprint_of_key(key)
        if self.register.has_revoked(key=digest):
            raise AirlockError.refuse(
                "the key in the request was revoked with a certificate of before, and whoever took it has it still",
                where=f"the request of {name}",
                fix="make a new key and a new request",
            )
        common = name if server is None else certificates.SERVER_SUBJECT
        certificate = certificates.make_leaf(
            self.issuing, key, common, self.now + life, self.now, server=server
        )
        self.register.entries.append(
            Issued(
                kind,
                name,
                certificate.serial_number,
                certificates.fingerprint(certificate),
                certificate.not_valid_after_utc,
                key=digest,
            )
        )
        return certificate.public_bytes(Encoding.PEM) + self.issuing.certificate.public_bytes(
            Encoding.PEM
        )

    def living(self, kind: str, name: str) -> list[Issued]:
        """Return what was issued to a name and has not expired, the newest last."""
        return [entry for entry in self.register.of_name(kind, name) if entry.until > self.now]

    def revoke(self, kind: str, name: str, days: int) -> list[Issued]:
        """Take back every living certificate of a name; the next list, good for ``days``, has them.

        Returns them, with those that were taken back before: what was interrupted can be repeated.
        """
        living = self.living(kind, name)
        for entry in living:
            if entry.revoked is None:
                entry.revoked = self.now
                self.reasons.append(f"revoked {kind} {name}, serial {entry.serial:x}")
        if living:
            self._ensure_crl(days)
        return living

    def _ensure_issuing(self, scope: Scope, longest: timedelta) -> None:
        root = self.certificate(self.directory / "ca.pem")
        found = self.certificate(self.directory / "issuing.pem")
        if root is None:
            if found is not None:
                raise AirlockError.refuse(
                    "the certificate of the root is gone, which every client trusts",
                    where=str(self.directory / "ca.pem"),
                    fix=f"restore it from a backup of the site directory, or {_NEW_ROOT}",
                )
            self._make_issuing(self._make_root(), scope, "made the authority of this house")
            return
        self._check_root(root, longest)
        reason = self._issuing_due(root, found, scope, longest)
        if reason:
            self._make_issuing(self._root(root, reason), scope, reason)

    def _check_root(self, root: x509.Certificate, longest: timedelta) -> None:
        """Refuse a root that nobody believes now, or soon."""
        begin, end = root.not_valid_before_utc, root.not_valid_after_utc
        if begin > self.now:
            raise AirlockError.refuse(
                "the root is from the future",
                expected=f"a clock at {begin:%Y-%m-%d %H:%M} or later",
                found=f"{self.now:%Y-%m-%d %H:%M} UTC",
                where=str(self.directory / "ca.pem"),
                fix=f"correct the clock of this controller; if it was wrong when the root was made, {_NEW_ROOT}",
            )
        if end - self.now < longest:
            raise AirlockError.refuse(
                "the root ends before what it is to vouch for",
                expected=f"at least {longest.days} days",
                found=f"its end on {end:%Y-%m-%d}",
                where=str(self.directory / "ca.pem"),
                fix=_NEW_ROOT,
            )

    def _issuing_due(
        self,
        root: x509.Certificate,
        found: x509.Certificate | None,
        scope: Scope,
        longest: timedelta,
    ) -> str:
        """Return why the root has to sign the issuing authority, '' where that can wait. Raises AirlockError."""
        if found is None:
            return "made the issuing authority anew"
        if found.not_valid_before_utc > self.now:
            return "the issuing authority is from the future, because a clock was wrong"
        if certificates.constraints(found) != scope.constraints():
            return "the names and addresses of the house are others, so the issuing authority speaks for these now"
        end = found.not_valid_after_utc
        if end - self.now >= ISSUING_LEFT:
            return ""
        if end == root.not_valid_after_utc:
            obstacle, fix = "and so does the root", _NEW_ROOT
        elif missing := self._missing_for_root():
            obstacle, fix = f"and {missing} is not there", _RENEW_ROOT.format(missing)
        else:
            return "renewed the issuing authority"
        # Everything else is renewed without the root, and must not wait for it.
        late = AirlockError.refuse(
            f"the issuing authority ends on {end:%Y-%m-%d}, {obstacle}",
            where=str(self.site),
            fix=fix,
        )
        if end - self.now < longest:
            raise late
        self.warnings.append(str(late))
        return ""

    def _make_issuing(self, root: Identity, scope: Scope, reason: str) -> None:
        # Its key stays where there is one: what it signed and took back stays so.
        path = self.directory / "issuing.key"
        if self.read(path) is None:
            if self.read(self.directory / "issuing.pem") is not None:
                self.key(path)  # refuses by name
            self.write(path, pem(certificates.make_key()), mode=0o600)
        self._issuing = certificates.make_issuing(root, self.key(path), scope, self.now)
        self.register.number += 1
        end = self._issuing.certificate.not_valid_after_utc
        crl = certificates.make_crl(root, [], self.register.number, self.now, end)
        self.write(self.directory / "root.crl", crl.public_bytes(Encoding.PEM))
        # The last of these: where it is, the others are.
        text = self._issuing.certificate.public_bytes(Encoding.PEM)
        self.write(self.directory / "issuing.pem", text, reason)

    def _make_root(self) -> Identity:
        root = certificates.make_root(self.now)
        self.write(self.site / _ROOT_KEY, pem(root.key, self._secret()), mode=0o600)
        self.write(self.directory / "ca.pem", root.certificate.public_bytes(Encoding.PEM))
        return root

    def _root(self, certificate: x509.Certificate, what: str) -> Identity:
        if missing := self._missing_for_root():
            raise AirlockError.refuse(
                f"{missing} is not there, and the root is needed",
                found=what,
                where=str(self.site),
                fix=_RENEW_ROOT.format(missing),
            )
        return Identity(certificate, self.key(self.site / _ROOT_KEY, self._secret()))

    def _missing_for_root(self) -> str:
        """Return what the owner keeps elsewhere of that with which the root signs, '' when all is here."""
        needed = [_ROOT_KEY, *([] if self.passphrase else [_ROOT_OPENED_BY])]
        return next((name for name in needed if self.read(self.site / name) is None), "")

    def _secret(self) -> str:
        """Return what encrypts the root's key: the owner's passphrase, or one that is kept beside the keys."""
        if self.passphrase:
            return self.passphrase
        path = self.site / _ROOT_OPENED_BY
        data = self.read(path)
        if data is None:
            data = secrets.token_urlsafe(32).encode() + b"\n"
            self.write(path, data, mode=0o600)
        passphrase = data.decode().strip()
        if not passphrase:  # it would encrypt nothing
            raise AirlockError.refuse(
                "the passphrase of the root is empty",
                where=str(path),
                fix="restore it, or set airlock_ca_passphrase",
            )
        return passphrase

    def _make_probe(self) -> None:
        """Make the one certificate that was never good, for the probe of the list (see attacks)."""
        key = certificates.make_key()
        life = timedelta(days=certificates.ISSUING_DAYS)
        chain = self.sign(PROBE, _REVOKED_PROBE, key.public_key(), life)
        self.register.entries[-1].revoked = self.now
        self.write(self.directory / "probe.pem", chain + pem(key), mode=0o600)

    def _ensure_crl(self, days: int) -> None:
        path = self.directory / "issuing.crl"
        if revocation_lists.is_due(self.read(path), self.register, self.issuing, self.now, days):
            crl = revocation_lists.make(self.register, self.issuing, self.now, days)
            self.write(path, crl, "made a new revocation list")
