# SPDX-License-Identifier: GPL-3.0-or-later
"""A store with one model on an ext4 file system of its own, and everything that guards it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ansible_collections.homelab.airlock.plugins.module_utils import (
    canonical,
    custody,
    digests,
    gate,
    sealing,
    weights,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.receipts import Book, Moment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus import gguf_cases

BLOCK = 4096
_FIBMAP = 1
TEMPLATE = b"{{ messages }}"
ROWS = 2048


def model(template: bytes = TEMPLATE, fill: bytes = b"\x3f") -> bytes:
    """Return a good GGUF of 256 KiB of weights and a little more."""
    keys = (*gguf_cases.KEYS[:-1], gguf_cases.scalar("tokenizer.chat_template", 8, template))
    tensors = (gguf_cases.tensor("blk.0.ffn.weight", (32, ROWS), 0, 0),)
    return gguf_cases.gguf(keys, tensors, fill * (32 * ROWS * 4))


class House:
    """The model, its manifest and receipt, and a release that would start with it."""

    def __init__(self, work: Path, image: Path) -> None:
        self.image = image
        self.mount = work / "disk"
        self.mount.mkdir()
        self.loop = self._command("losetup", "--find", "--show", str(image)).strip()
        self._command("mount", self.loop, str(self.mount))
        self.store = self.mount / "store"
        self.store.mkdir()
        (self.mount / "receipts").mkdir(mode=0o700)
        self.view = work / "view" / weights.seen(1)[0]
        self.view.parent.mkdir()
        self.view.touch()
        self.data = model()
        self.digest = hashlib.sha256(self.data).hexdigest()
        self.path = self.store / f"sha256-{self.digest}"
        self.manifest = self.mount / "manifest.json"
        self.pinned = self.write_manifest("1")
        self.files = gate.Files.of("chat-1a2b3c4d", str(self.mount / "gate"))
        self.moment = Moment.now()
        # What an attacker does who waits for the right moment: after the check, before the unit looks; and
        # after that, while the model is loaded.
        self.between: Callable[[], None] = lambda: None
        self.meanwhile: Callable[[], None] = lambda: None
        self.mapped = self.view
        self.pages = mmap.mmap(-1, BLOCK)

    # -- what the product does -------------------------------------------------------------------

    @property
    def book(self) -> Book:
        """Return the receipts, as a process that has just started sees them."""
        return Book(str(self.mount / "receipts"))

    def subject(self) -> custody.Subject:
        """Return what the file has to be, for the manifest that the release was made from."""
        return self.subject_of(self.pinned)

    def subject_of(self, digest: str) -> custody.Subject:
        """Return what the file has to be for a manifest with this digest."""
        return gate.subjects_of(str(self.manifest), digest, [str(self.path)])[0]

    def ingest(self, before: Callable[[House], None] | None) -> None:
        """Do what a push does with the verified file; ``before`` is what an attacker does before the receipt."""
        with self.path.open("wb") as target:
            target.write(self.data)
            os.fsync(target.fileno())
        if before:
            before(self)
        self.path.chmod(0o444)
        with digests.blake3() as witness, contextlib.suppress(sealing.Busy):  # then there is none
            assert witness
            witness.update(self.data)
            custody.receive(self.subject(), witness.hexdigest(), self.book, self.moment)

    def prove(self, level: int) -> custody.Finding:
        """Look at the file at one level, without going on to the next."""
        if level == custody.RECEIPT:
            return custody.glance(self.subject(), self.book, self.moment)
        return custody.prove(self.subject(), self.book, self.moment, least=level, issue=False)

    def caught(self, level: int) -> str:
        """Return how a start of the release is refused with a check of ``level``, '' when it is not."""
        try:
            finding = self.prove(level)
            if finding.state != custody.OK:
                return finding.stale or f"expected {finding.expected}, found {finding.found}"
            foreign = custody.strangers(str(self.store), [str(self.path)])
            if foreign:
                return f"a stranger in the store: {os.path.basename(foreign[0])}"
            gate.leave([finding], self.files)
            self.between()
            self._command("mount", "--bind", str(self.path), str(self.view))
            try:
                gate.seen(str(self.view.parent), self.files)
                with self.mapped.open("rb") as source:
                    pages = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
                with pages:
                    self.meanwhile()
                    gate.mapped(os.getpid(), str(self.view.parent), self.files)
            finally:
                self._command("umount", str(self.view))
        except (AirlockError, OSError) as exc:
            return str(exc)
        return ""

    # -- what an attacker has: root, and time ----------------------------------------------------

    def write_manifest(self, revision: str, digest: str = "") -> str:
        """Write the manifest of the model and return its digest."""
        files = [
            {
                "path": "model.gguf",
                "size": len(self.data),
                "sha256": digest or self.digest,
                "source": "PyPI small",
            }
        ]
        document = {"version": 1, "name": "small", "revision": revision, "licence": "MIT"}
        self.manifest.write_text(json.dumps({**document, "files": files}))
        return canonical.digest({**document, "files": files})

    def edit(self, change: Callable[[Path], None], *, times: bool = True) -> None:
        """Change the file as root can, then put back its flags, its mode and its times."""
        before = self.path.stat()
        sealing.unseal(str(self.path))
        self.path.chmod(0o644)
        change(self.path)
        self.path.chmod(0o444)
        if times:
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.seal()

    def seal(self) -> None:
        """Set the immutable flag again."""
        descriptor = os.open(self.path, os.O_RDONLY)
        sealing.make_immutable(descriptor)
        os.close(descriptor)

    def replace(self, data: bytes) -> None:
        """Put another file of the same times in its place."""
        before = self.path.stat()
        other = self.mount / "other"
        other.write_bytes(data)
        other.chmod(0o444)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        sealing.unseal(str(self.path))
        other.rename(self.path)
        self.seal()

    def edit_block(self, offset: int, data: bytes) -> None:
        """Write to the device below the file system while it is not mounted."""
        with self.path.open("rb") as source:
            number = fcntl.ioctl(source, _FIBMAP, struct.pack("I", offset // BLOCK))
        (block,) = struct.unpack("I", number)
        self._command("umount", str(self.mount))
        with open(self.loop, "r+b", buffering=0) as device:
            device.seek(block * BLOCK + offset % BLOCK)
            device.write(data)
            os.fsync(device.fileno())
        self._command("mount", self.loop, str(self.mount))

    def reboot(self) -> None:
        """Be the same host after another start."""
        self.moment = replace(self.moment, boot_id="another")

    def close(self) -> None:
        """Give everything back."""
        self.pages.close()
        subprocess.run(["umount", "--recursive", "--lazy", str(self.mount)], check=False)
        self._command("losetup", "--detach", self.loop)

    def _command(self, *words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout
