# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a model file on this host the approved one? The cheapest proof that still holds, up to every byte.

Levels: 0 a receipt (no byte of the model is read), 1 fs-verity, 2 BLAKE3 of every byte, or SHA-256 where
this host cannot or has none to compare with, 3 SHA-256 of every byte and the structure of the format.
What is proven at level 1 or above gets a new receipt.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from . import digests, formats, receipts
from .artifacts import Content
from .errors import AirlockError
from .formats_checked import Checked, hold
from .manifests import Manifest
from .receipts import Book, Identity, Moment, Receipt
from .sealing import Busy, enable_verity, make_immutable, measure_verity, read_lease

RECEIPT, VERITY, CONTENT, FULL = range(4)
"""The levels of a proof, by number."""

OK, MISSING, CORRUPT = "ok", "missing", "corrupt"
UNDER_WAY = (".incoming-", ".ingest-")
"""How the names of directories begin in which a push uploads and copies."""

_MODE = 0o444
_DAY = 24 * 3600


@dataclass(frozen=True)
class Subject:
    """A file of a model: where it is, what it must be, and the digest of the manifest that says so.

    ``name`` is its path within the model; ``owner`` (user id) and ``mode`` are those that it must have, the
    owner by default who asks, which is root on hosts.
    """

    path: str
    content: Content
    manifest: str
    name: str = ""
    checked: Checked | None = None
    owner: int = field(default_factory=os.geteuid)
    mode: int = _MODE


@dataclass(frozen=True)
class Finding:
    """How a file is: ``state`` ok, missing or corrupt; what was expected and found, in words.

    ``level`` is that of the proof; ``stale`` says why no receipt was enough, '' when one was; ``read`` is
    how many bytes of the model were read for it, ``verity`` whether fs-verity stands guard over it.
    """

    path: str
    state: str
    level: int = RECEIPT
    expected: str = ""
    found: str = ""
    stale: str = ""
    read: int = 0
    verity: bool = False
    identity: Identity | None = None

    def sentence(self, subject: str) -> str:
        """Return the finding as one sentence."""
        return str(
            AirlockError.refuse(
                f"the file is {self.state}", expected=self.expected, found=self.found, where=subject
            )
        )


def subjects(manifest: Manifest) -> list[Subject]:
    """Return the files of a model where the store keeps them."""
    return [
        Subject(entry.stored, entry.content, manifest.digest, entry.path, entry.checked)
        for entry in manifest.files
    ]


def glance(subject: Subject, book: Book, moment: Moment) -> Finding:
    """Hold the file against its receipt alone (level 0). Raises OSError.

    ``ok`` is a proof. What is not may still be the approved file: ``prove`` finds out.
    """
    try:
        descriptor = _open(subject.path)
    except OSError as exc:
        return _unopened(subject, exc)
    try:
        seen = Identity.of(descriptor)
    finally:
        os.close(descriptor)
    flaw = _flaw(subject, seen)
    if flaw:
        return flaw
    receipt = book.read(subject.path, subject.manifest)
    reason = _stale(subject, receipt, seen, moment)
    if reason:
        return Finding(
            subject.path, CORRUPT, RECEIPT, "a receipt that holds", reason, reason, identity=seen
        )
    return Finding(subject.path, OK, RECEIPT, identity=seen)


def prove(
    subject: Subject,
    book: Book,
    moment: Moment,
    *,
    least: int = RECEIPT,
    keep_cache: bool = False,
    issue: bool = True,
) -> Finding:
    """Prove that the file is the approved one, at level ``least`` or above; keep a receipt of it with ``issue``.

    With ``keep_cache`` the pages stay in memory for who loads them next. A file that somebody may be
    writing to is corrupt, whatever it holds, and so is one that cannot be read. Raises AirlockError for a
    book that is not private, OSError.
    """
    first = glance(subject, book, moment)
    if first.identity is None or (first.state == OK and least == RECEIPT):
        return first
    if not first.stale and first.state != OK:
        return first
    try:
        descriptor = _open(subject.path)
    except OSError as exc:
        return _unopened(subject, exc)
    try:
        with read_lease(descriptor) as leased:
            seen = Identity.of(descriptor)
            try:
                found, receipt = _prove(descriptor, subject, book, seen, moment, least, keep_cache)
            except OSError as exc:
                book.drop(subject.path, subject.manifest)
                return replace(
                    first, state=CORRUPT, expected="a file that can be read", found=str(exc)
                )
            if found.state == OK and Identity.of(descriptor) != seen:
                found = replace(
                    found, state=CORRUPT, expected="a file at rest", found="one that changes"
                )
        # Only now the lease has held to its end.
        if found.state != OK:
            book.drop(subject.path, subject.manifest)
        elif issue and leased and book.exists:
            book.write(receipt)
        return replace(found, stale=first.stale, identity=seen)
    except Busy as exc:
        return replace(first, state=CORRUPT, expected="nobody who may write to it", found=str(exc))
    finally:
        os.close(descriptor)


def receive(subject: Subject, blake3: str, book: Book, moment: Moment) -> None:
    """Seal a file that has just got its place, and issue the receipt for what was hashed on the way.

    fs-verity and the immutable flag are set where the file system has them. Raises Busy, OSError.
    """
    descriptor = _open(subject.path)
    try:
        enable_verity(descriptor)
        make_immutable(descriptor)
        with read_lease(descriptor) as leased:
            seen = Identity.of(descriptor)
            if leased and book.exists:
                verity = measure_verity(descriptor)
                sha256 = subject.content.sha256
                book.write(
                    Receipt(
                        subject.path,
                        subject.manifest,
                        sha256,
                        blake3,
                        verity,
                        CONTENT,
                        seen,
                        moment,
                    )
                )
    finally:
        os.close(descriptor)


def prove_all(
    wanted: Iterable[Subject],
    book: Book,
    moment: Moment,
    *,
    least: int = RECEIPT,
    keep_cache: bool = False,
    issue: bool = True,
) -> dict[Subject, Finding]:
    """Prove several files, as many at once as there are cores, the largest first. As ``prove``."""
    order = sorted(wanted, key=lambda subject: -subject.content.size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(
            lambda each: prove(each, book, moment, least=least, keep_cache=keep_cache, issue=issue),
            order,
        )
        return dict(zip(order, found))  # noqa: B905 - strict= is in Python 3.10, and the lengths are equal


def strangers(directory: str, known: Iterable[str]) -> list[str]:
    """Return what lies in a store and is none of the ``known`` paths, sorted. Raises OSError.

    What a push that is under way has there (``UNDER_WAY``) is none for a day.
    """
    expected = set(known)
    found = []
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        fresh = time.time() - os.lstat(path).st_mtime < _DAY
        if path not in expected and not (name.startswith(UNDER_WAY) and fresh):
            found.append(path)
    return sorted(found)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _unopened(subject: Subject, exc: OSError) -> Finding:
    if exc.errno == errno.ENOENT:
        return Finding(subject.path, MISSING, RECEIPT, "a file", "nothing")
    if exc.errno in (errno.ELOOP, errno.ENXIO):
        kind = "a symbolic link" if exc.errno == errno.ELOOP else "something else"
        return Finding(subject.path, CORRUPT, RECEIPT, "a regular file with one name", kind)
    if isinstance(exc, PermissionError):
        raise exc
    return Finding(subject.path, CORRUPT, RECEIPT, "a file that can be read", str(exc))


def _flaw(subject: Subject, seen: Identity) -> Finding | None:
    """Return what is wrong with the file before any byte of it is looked at."""

    def corrupt(expected: str, found: str) -> Finding:
        return Finding(subject.path, CORRUPT, RECEIPT, expected, found, identity=seen)

    if not stat.S_ISREG(seen.mode) or seen.nlink != 1:
        kind = f"{seen.nlink} names for it" if stat.S_ISREG(seen.mode) else "something else"
        return corrupt("a regular file with one name", kind)
    if (seen.uid, stat.S_IMODE(seen.mode)) != (subject.owner, subject.mode):
        return corrupt(
            f"owner {subject.owner} and mode {subject.mode:04o}",
            f"owner {seen.uid} and mode {stat.S_IMODE(seen.mode):04o}",
        )
    if seen.size != subject.content.size:
        return corrupt(f"{subject.content.size} bytes", f"{seen.size} bytes")
    return None


def _stale(subject: Subject, receipt: Receipt | None, seen: Identity, moment: Moment) -> str:
    if receipt is None or receipt.sha256 != subject.content.sha256:
        return "it has no receipt that can be trusted"
    return receipts.stale(receipt, seen, moment)


def _prove(
    descriptor: int,
    subject: Subject,
    book: Book,
    seen: Identity,
    moment: Moment,
    least: int,
    keep_cache: bool,
) -> tuple[Finding, Receipt]:
    """Return the finding, and the receipt that an ``ok`` earns."""
    wanted = subject.content.sha256
    verity = measure_verity(descriptor)
    known = book.read(subject.path, subject.manifest)
    if known is None or known.sha256 != wanted:
        known = Receipt(subject.path, subject.manifest, wanted, "", "", FULL, seen, moment)
    fresh = replace(known, verity=verity, identity=seen, moment=moment)

    def ok(level: int, read: int) -> tuple[Finding, Receipt]:
        return Finding(subject.path, OK, level, read=read, verity=bool(verity)), replace(
            fresh, level=level
        )

    def corrupt(level: int, expected: str, found: str) -> tuple[Finding, Receipt]:
        return Finding(subject.path, CORRUPT, level, expected, found, read=seen.size), fresh

    if least <= VERITY and verity and verity == known.verity:
        return ok(VERITY, 0)
    if least <= CONTENT and known.blake3 and digests.has_blake3():
        found = digests.blake3_of(descriptor, keep_cache=keep_cache)
        if found != known.blake3:
            return corrupt(CONTENT, f"blake3 {known.blake3}", f"blake3 {found}")
        return ok(CONTENT, seen.size)
    sha256, blake3 = digests.both(descriptor, keep_cache=keep_cache)
    if sha256 != wanted:
        return corrupt(max(CONTENT, least), f"sha256 {wanted}", f"sha256 {sha256}")
    fresh = replace(fresh, blake3=blake3)
    if least < FULL:
        return ok(CONTENT, seen.size)
    try:
        checked = formats.check(subject.path, subject.name)
        if subject.checked:
            hold(checked, subject.checked, subject.path)
    except AirlockError as exc:
        return corrupt(FULL, "the structure of an accepted format", str(exc).rstrip("."))
    return ok(FULL, seen.size)
