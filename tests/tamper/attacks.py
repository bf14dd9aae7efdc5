# SPDX-License-Identifier: GPL-3.0-or-later
"""What root might do to a model between the push and the start of a release, so that nobody notices."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.homelab.airlock.plugins.module_utils import custody, receipts, sealing
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Content

from .house import House, model

_PUNCH_HOLE, _KEEP_SIZE, _ZERO_RANGE = 2, 1, 16
_MIDDLE = 128 * 1024

Act = Callable[[House], None]


@dataclass(frozen=True)
class Attack:
    """One attack: ``before`` the push is finished, then ``act``.

    ``missed`` says why no receipt can see it, '' where it does.
    """

    title: str
    act: Act
    before: Act | None = None
    missed: str = ""


def _flip(path: Path) -> None:
    with path.open("r+b") as target:
        target.seek(_MIDDLE)
        target.write(b"\x40")


def _fallocate(mode: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
        with path.open("r+b") as target:
            if libc.fallocate(target.fileno(), mode, _MIDDLE, 4096):
                raise OSError(ctypes.get_errno(), "fallocate")

    return change


def _through_a_mapping(path: Path) -> None:
    with path.open("r+b") as target, mmap.mmap(target.fileno(), 0) as pages:
        pages[_MIDDLE : _MIDDLE + 1] = b"\x40"
        pages.flush()


def _map_before(house: House) -> None:
    """Keep a writable mapping from before the file is sealed and its receipt is asked for."""
    with house.path.open("r+b") as target:
        house.pages = mmap.mmap(target.fileno(), 0)
    house.pages[_MIDDLE : _MIDDLE + 1] = house.data[_MIDDLE : _MIDDLE + 1]


def _dirty_the_page(house: House) -> None:
    sealing.unseal(str(house.path))  # while it stands, the kernel ends who writes to a mapping
    house.pages[_MIDDLE : _MIDDLE + 1] = b"\x40"


def _replace_by_link(house: House) -> None:
    copy = house.mount / "copy"
    copy.write_bytes(house.data)
    sealing.unseal(str(house.path))
    house.path.unlink()
    house.path.symlink_to(copy)


def _second_name(house: House) -> None:
    sealing.unseal(str(house.path))
    os.link(house.path, house.mount / "name")
    house.seal()


def _mount_over(house: House) -> None:
    other = house.mount / "other"
    other.write_bytes(model(fill=b"\x40"))
    other.chmod(0o444)
    subprocess.run(["mount", "--bind", str(other), str(house.path)], check=True)


def _device(house: House) -> None:
    sealing.unseal(str(house.path))
    house.path.unlink()
    os.mkfifo(house.path, 0o444)


def _forge(house: House, key: bytes) -> None:
    """Write a receipt for the file as it is now, under a key."""
    place = house.mount / "forged"
    place.mkdir(mode=0o700)
    (place / "key").write_bytes(key)
    (place / "key").chmod(0o600)
    descriptor = os.open(house.path, os.O_RDONLY)
    seen = receipts.Identity.of(descriptor)
    os.close(descriptor)
    subject = house.subject()
    receipts.Book(str(place)).write(
        receipts.Receipt(
            subject.path, subject.manifest, house.digest, "", "", 3, seen, house.moment
        )
    )
    (forged,) = place.glob("*.receipt")
    forged.rename(house.mount / "receipts" / forged.name)


def _forged(house: House) -> None:
    house.edit(_flip)
    _forge(house, bytes(32))


def _edited(house: House) -> None:
    house.edit(_flip)
    (path,) = (house.mount / "receipts").glob("*.receipt")
    body, mac = path.read_bytes().splitlines()
    document = json.loads(body)
    document["identity"]["ctime_ns"] = house.path.stat().st_ctime_ns
    path.write_bytes(
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n" + mac
    )


def _replayed(house: House) -> None:
    """Show the true receipt of another model, under the name of this one's."""
    subject = house.subject()
    other = replace(subject, path=str(house.mount / "elsewhere"))
    Path(other.path).write_bytes(house.data)
    Path(other.path).chmod(0o444)
    custody.receive(other, "", house.book, house.moment)
    house.edit(_flip)
    names = sorted(
        (house.mount / "receipts").glob("*.receipt"), key=lambda path: path.stat().st_mtime_ns
    )
    names[-1].rename(names[0])


def _older(house: House) -> None:
    """Put a true receipt back that an earlier file at the same place had earned."""
    (path,) = (house.mount / "receipts").glob("*.receipt")
    kept = path.read_bytes()
    house.replace(house.data)
    custody.prove(house.subject(), house.book, house.moment)
    house.edit(_flip)
    path.write_bytes(kept)


def _without_key(house: House) -> None:
    house.edit(_flip)
    (house.mount / "receipts" / "key").chmod(0o644)


def _below(house: House) -> None:
    house.edit_block(_MIDDLE, b"\x40")


def _after_a_boot(house: House) -> None:
    _below(house)
    house.reboot()


def _clock_back(house: House) -> None:
    _below(house)
    house.moment = replace(house.moment, when=house.moment.when - 60)


def _too_old(house: House) -> None:
    _below(house)
    house.moment = replace(house.moment, when=house.moment.when + receipts.MAX_AGE_S + 1)


def _manifest_of_another(house: House) -> None:
    data = model(fill=b"\x40")
    house.replace(data)
    house.write_manifest("1", hashlib.sha256(data).hexdigest())


def _downgrade(house: House) -> None:
    """Bring back a model that was approved once, with the manifest and a true receipt of that time."""
    data = model(fill=b"\x41")
    house.replace(data)
    sha256 = hashlib.sha256(data).hexdigest()
    digest = house.write_manifest("0", sha256)
    then = replace(house.subject_of(digest), content=Content(sha256, len(data)))
    custody.receive(then, "", house.book, house.moment)


def _stranger(name: Callable[[House], str]) -> Act:
    def act(house: House) -> None:
        (house.store / name(house)).write_bytes(b"x")

    return act


def _swap_later(house: House) -> None:
    house.between = lambda: house.replace(model(fill=b"\x40"))


def _swap_and_back(house: House) -> None:
    """Let the unit map another file than the one it was shown."""
    other = house.mount / "other"
    other.write_bytes(model(fill=b"\x40"))
    house.mapped = other


def _overwrite_later(house: House) -> None:
    house.meanwhile = lambda: house.edit(_flip)


def _owner(house: House) -> None:
    sealing.unseal(str(house.path))
    os.chown(house.path, 65534, 65534)
    house.seal()


def _mode(house: House) -> None:
    sealing.unseal(str(house.path))
    house.path.chmod(0o644)
    house.seal()


def _template(path: Path) -> None:
    data = path.read_bytes().replace(b"{{ messages }}", b"{{ mess4ges }}")
    with path.open("r+b") as target:
        target.write(data)


def _edit(change: Callable[[Path], None], *, times: bool = True) -> Act:
    return lambda house: house.edit(change, times=times)


def _append(path: Path) -> None:
    with path.open("ab") as target:
        target.write(b"\0")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def _gone(house: House) -> None:
    sealing.unseal(str(house.path))
    house.path.unlink()


_BELOW = (
    "the kernel keeps nothing of a write below the file system; a boot, a week or fs-verity ends it"
)
ATTACKS = [
    Attack("a byte overwritten", _edit(_flip, times=False)),
    Attack("a byte overwritten, times and flags put back", _edit(_flip)),
    Attack("the chat template edited in place, times put back", _edit(_template)),
    Attack("a hole punched, times put back", _edit(_fallocate(_PUNCH_HOLE | _KEEP_SIZE))),
    Attack("a range zeroed, times put back", _edit(_fallocate(_ZERO_RANGE | _KEEP_SIZE))),
    Attack("a page written through a mapping, times put back", _edit(_through_a_mapping)),
    Attack("a page written through a mapping from before the receipt", _dirty_the_page, _map_before),
    Attack("the end cut off", _edit(_cut)),
    Attack("a byte appended", _edit(_append)),
    Attack("another file renamed over it, times put back", lambda h: h.replace(model(fill=b"\x40"))),
    Attack("removed", _gone),
    Attack("a symbolic link to a copy in its place", _replace_by_link),
    Attack("a pipe in its place", _device),
    Attack("a second name for it", _second_name),
    Attack("another file mounted over it", _mount_over),
    Attack("given to another owner", _owner),
    Attack("made writable", _mode),
    Attack("changed, with a receipt under another key", _forged),
    Attack("changed, with its receipt edited to fit", _edited),
    Attack("changed, with the receipt of another file under its name", _replayed),
    Attack("changed, with an older receipt of the same place", _older),
    Attack("changed, with the key opened to others", _without_key),
    Attack("the manifest of another model, with that model", _manifest_of_another),
    Attack("an older model, with the manifest and the receipt of its time", _downgrade),
    Attack("another file in the store", _stranger(lambda _house: "sha256-" + "0" * 64)),
    Attack("its name in other case beside it", _stranger(lambda h: h.path.name.upper())),
    Attack("swapped between the check and the unit's look", _swap_later),
    Attack("another file mapped than the one that was shown", _swap_and_back),
    Attack("a byte overwritten while it was loaded, times and flags put back", _overwrite_later),
    Attack("a block of the disk edited while it was not mounted", _below, missed=_BELOW),
    Attack("a block of the disk edited before a boot", _after_a_boot),
    Attack("a block of the disk edited, and the clock set back", _clock_back),
    Attack("a block of the disk edited more than a week ago", _too_old),
]  # fmt: skip
