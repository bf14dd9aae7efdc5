# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load gate: three looks at the weights of a release, before its unit starts and after.

``admit`` proves every file in the store, as root, and leaves a ticket that names their inodes. ``seen`` holds
what the unit sees behind its mounts against the ticket, ``mapped`` what the runtime really mapped. Ticket
and refusals lie in a directory of /run that only root may write to.

Ticket, canonical JSON; ``mapped`` is 0 for a file without a tensor, which the runtime need not map::

    {"version": 1, "files": {"model-00001-of-00001.gguf": {"dev": 1, "ino": 2, "size": 3, "mtime_ns": 4,
                                                           "ctime_ns": 5, "mapped": 1}}}
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import artifacts_schema as schema
from . import canonical, custody, gguf, manifests, weights
from .custody import Finding, Subject
from .errors import AirlockError
from .files import read_limited, write_atomic
from .receipts import Book, Identity, Moment

DIRECTORY = "/run/airlock/gate"
_MANIFEST_LIMIT = 16 * 1024 * 1024
_LIMIT = 1024 * 1024
_INODE = ("dev", "ino", "size", "mtime_ns", "ctime_ns")


@dataclass(frozen=True)
class Files:
    """What the gate keeps about one release: ``ticket`` for the looks to come, ``refusal`` of the last start."""

    ticket: str
    refusal: str

    @classmethod
    def of(cls, release: str, directory: str = DIRECTORY) -> Files:
        """Return the files of ``release``."""
        base = os.path.join(directory, release)
        return cls(f"{base}.json", f"{base}.refused.json")


def subjects_of(manifest_path: str, digest: str, paths: Sequence[str]) -> list[Subject]:
    """Return what the files at ``paths`` have to be: the weights of a manifest with this ``digest``, in order.

    Raises AirlockError, OSError.
    """
    manifest = manifests.parse(read_limited(manifest_path, _MANIFEST_LIMIT), manifest_path)
    if manifest.digest != digest:
        raise AirlockError.refuse(
            "the manifest is not the one that the release was made from",
            expected=f"digest {digest}",
            found=manifest.digest,
            where=manifest_path,
            fix="run the playbook 'site'",
        )
    wanted = [file.path for file in weights.of(manifest, manifest_path)]
    if len(paths) != len(wanted):
        raise AirlockError.refuse(
            "the release is not given every file of its weights",
            expected=f"{len(wanted)} files",
            found=f"{len(paths)}",
            where=manifest_path,
            fix="run the playbook 'site'",
        )
    subjects = {subject.name: subject for subject in custody.subjects(manifest)}
    return [replace(subjects[name], path=path) for name, path in zip(wanted, paths)]  # noqa: B905


def admit(
    subjects: Sequence[Subject], book: Book, moment: Moment, files: Files | None = None
) -> list[Finding]:
    """Prove the files and leave a ticket, or refuse. Raises AirlockError, OSError.

    A refusal for which bytes had to be read is remembered until file, manifest or receipt are others.
    """
    situation = _situation(subjects, book, moment)
    if files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(files.ticket)
        remembered = _read(files.refusal)
        if remembered and remembered.get("situation") == situation:
            raise AirlockError(
                f"{remembered['sentence']} Nothing has changed since it was refused."
            )
    # The pages stay cached: the runtime loads the files next.
    proven = custody.prove_all(subjects, book, moment, keep_cache=True)
    findings = [proven[subject] for subject in subjects]
    for finding in findings:
        if finding.state != custody.OK:
            refusal = AirlockError.refuse(
                "the file is not the approved one",
                expected=finding.expected,
                found=finding.found,
                where=finding.path,
                fix="run the playbook 'site' to bring it anew",
            )
            if files and any(finding.read for finding in findings):
                # The receipt is gone by now; what the next start finds is what has to be recognised.
                again = _situation(subjects, book, moment)
                _write(files.refusal, {"situation": again, "sentence": str(refusal)})
            raise refusal
    if files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(files.refusal)
        leave(findings, files)
    return findings


def leave(findings: Sequence[Finding], files: Files) -> None:
    """Leave the ticket of admitted files, in the order of the parts, for the looks to come.

    Raises AirlockError, OSError.
    """
    admitted = {}
    for name, finding in zip(weights.seen(len(findings)), findings):  # noqa: B905 - of one length
        with _opened(finding.path) as descriptor:
            inode = _inode(Identity.of(descriptor))
            must = gguf.has_tensors(descriptor)
        if finding.identity is None or inode != _inode(finding.identity):
            raise AirlockError.refuse("the file changed while it was admitted", where=finding.path)
        admitted[name] = {**inode, "mapped": int(must)}
    _write(files.ticket, {"version": 1, "files": admitted})


def seen(view: str, files: Files) -> None:
    """Refuse unless what lies in the directory ``view``, as this process sees it, are the admitted files.

    Raises AirlockError, OSError.
    """
    wanted = _ticket(files)
    odd = sorted(set(os.listdir(view)) ^ set(wanted))
    if odd:
        raise AirlockError.refuse(
            "the unit does not see the files that were admitted",
            expected=", ".join(wanted),
            found=f"{odd[0]} {'missing' if odd[0] in wanted else 'besides'}",
            where=view,
        )
    for name, admitted in wanted.items():
        path = os.path.join(view, name)
        with _opened(path) as descriptor:
            found = _inode(Identity.of(descriptor))
        others = [field for field in _INODE if found[field] != admitted[field]]
        if others:
            raise AirlockError.refuse(
                "what the unit sees is not the file that was admitted",
                expected=", ".join(f"{field} {admitted[field]}" for field in others),
                found=", ".join(f"{field} {found[field]}" for field in others),
                where=path,
            )


def mapped(pid: int, view: str, files: Files) -> None:
    """Refuse unless process ``pid`` has mapped the admitted files, and none but them below ``view``.

    Asks /proc/<pid>/map_files (proc(5)), whose device and inode numbers are those of stat(2) on every
    file system, which those in maps are not. Raises AirlockError, OSError.
    """
    tickets = _ticket(files).values()
    # Times too: it may have been written to since, while it was loaded.
    admitted = {tuple(entry[field] for field in _INODE) for entry in tickets}
    wanted = {tuple(entry[field] for field in _INODE) for entry in tickets if entry["mapped"]}
    numbers = {inode[:2] for inode in admitted}
    found: set[tuple[int, ...]] = set()
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        lines = [line.split(maxsplit=5) for line in maps]
    for fields in lines:
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue
        low, high = (int(number, 16) for number in fields[0].split("-"))
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(f"/proc/{pid}/map_files/{low:x}-{high:x}")
            inode = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
            if inode[:2] in numbers or fields[5].startswith(f"{view}/"):
                found.add(inode)
    if not wanted <= found <= admitted:
        raise AirlockError.refuse(
            "the runtime has not loaded what was admitted",
            expected=f"mappings of {_words(wanted)}",
            found=_words(found) or "none",
            where=f"/proc/{pid}/maps",
        )


def _situation(subjects: Sequence[Subject], book: Book, moment: Moment) -> str:
    """Return a digest of all that a refusal depends on."""
    facts = []
    for subject in subjects:
        identity = custody.glance(subject, book, moment).identity
        receipt = book.read(subject.path, subject.manifest)
        facts.append(
            {
                "manifest": subject.manifest,
                "identity": asdict(identity) if identity else None,
                "receipt": asdict(receipt) if receipt else None,
            }
        )
    return canonical.digest(facts)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _inode(identity: Identity) -> dict[str, int]:
    return {name: getattr(identity, name) for name in _INODE}


def _words(inodes: set[tuple[int, ...]]) -> str:
    """Name inodes, each in the order of ``_INODE``."""
    return "; ".join(
        f"device {dev}, inode {ino}, {size} bytes, changed {changed}"
        for dev, ino, size, _written, changed in sorted(inodes)
    )


def _ticket(files: Files) -> Mapping[str, Mapping[str, int]]:
    """Return the admitted files by the name under which the unit sees them."""
    ticket = schema.fields(_read(files.ticket) or {}, files.ticket, required=("version", "files"))
    admitted = {}
    for name in weights.seen(len(ticket["files"])):
        entry = schema.fields(ticket["files"].get(name), files.ticket, required=("mapped", *_INODE))
        admitted[name] = {
            field: schema.integer(entry[field], files.ticket, 0, 2**64) for field in entry
        }
    return admitted


def _read(path: str) -> dict[str, Any] | None:
    try:
        value = canonical.loads(read_limited(path, _LIMIT), where=path)
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def _write(path: str, value: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, canonical.dumps(value) + b"\n", mode=0o644)
