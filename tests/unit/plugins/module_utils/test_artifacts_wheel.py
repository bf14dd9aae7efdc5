# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts_wheel as wheels
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

DIGEST = "d" * 64


def wheel(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> tuple[str, str]:
    """Return the place of an unpacked wheel and the digest of its receipt."""
    source = wheel(tmp_path / "good.whl", [("pkg/", b""), ("pkg/a.py", b"1"), ("pkg/b/c.so", b"2")])
    place = str(tmp_path / "place")
    return place, wheels.unpack(source, place, DIGEST)


def test_a_wheel_is_unpacked_whole_and_proves_itself(good: tuple[str, str]) -> None:
    place, receipt = good
    assert wheels.flaw(place, DIGEST, receipt) is None
    assert Path(place, "pkg/b/c.so").read_bytes() == b"2"
    assert stat.S_IMODE(Path(place, "pkg/a.py").stat().st_mode) == 0o444
    assert stat.S_IMODE(Path(place, "pkg").stat().st_mode) == 0o755


def _replace(place: Path) -> None:
    (place / "pkg/a.py").unlink()
    (place / "pkg/a.py").write_bytes(b"X")


def _link(place: Path) -> None:
    (place / "pkg/a.py").unlink()
    (place / "pkg/a.py").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (_replace, "pkg/a.py was changed"),
        (_link, "pkg/a.py does not belong there"),
        (lambda place: (place / "pkg/a.py").unlink(), "pkg/a.py is missing"),
        (lambda place: (place / "pkg/evil.py").touch(), "pkg/evil.py does not belong there"),
        (lambda place: (place / "pkg/a.py").chmod(0o666), "may be written by others"),
        (lambda place: (place / "pkg").chmod(0o777), "may be written by others"),
        (lambda place: (place / wheels.RECEIPT).unlink(), "its receipt is missing or damaged"),
        (
            lambda place: os.replace(place / "pkg/b/c.so", place / wheels.RECEIPT),
            "its receipt is missing or damaged",
        ),
    ],
)
def test_every_change_of_the_tree_is_found(
    good: tuple[str, str], attack: Callable[[Path], None], reason: str
) -> None:
    place, receipt = good
    attack(Path(place))
    assert reason in (wheels.flaw(place, DIGEST, receipt) or "nothing")


def test_a_forged_receipt_is_found(good: tuple[str, str]) -> None:
    place, receipt = good
    data = Path(place, wheels.RECEIPT).read_bytes()
    Path(place, wheels.RECEIPT).unlink()
    Path(place, wheels.RECEIPT).write_bytes(data.replace(b'"size":1', b'"size":1 '))
    assert wheels.flaw(place, DIGEST, receipt) == f"{wheels.RECEIPT} was changed"
    assert (
        wheels.flaw(place, "e" * 64, receipt)
        == f"it was unpacked from another wheel, sha256 {DIGEST}"
    )
    assert wheels.flaw(place + "x", DIGEST, receipt) == "it is not there"


def _link_entry() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("pkg/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("../evil", b"")], "the path does not fit"),
        ([("a/../../evil", b"")], "the path does not fit"),
        ([("/etc/evil", b"")], "the path does not fit"),
        ([("a//b", b"")], "the path does not fit"),
        ([("a\\b", b"")], "something else than plain files"),
        ([(_link_entry(), b"/etc/passwd")], "something else than plain files"),
        ([("a/B", b""), ("a/b", b"")], "holds a name twice"),
        ([(wheels.RECEIPT, b"{}")], "holds a name twice"),
    ],
)
def test_hostile_archives_are_refused_and_leave_the_old_tree(
    good: tuple[str, str],
    tmp_path: Path,
    members: list[tuple[zipfile.ZipInfo | str, bytes]],
    sentence: str,
) -> None:
    place, receipt = good
    before = sorted(tmp_path.rglob("*"))
    source = wheel(tmp_path / "good.whl", members)
    with pytest.raises(AirlockError, match=sentence):
        wheels.unpack(source, place, DIGEST)
    assert sorted(tmp_path.rglob("*")) == before
    assert wheels.flaw(place, DIGEST, receipt) is None


def test_what_is_too_large_or_no_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "MAX_TOTAL", 10)
    source = wheel(tmp_path / "large.whl", [("a", b"x" * 11)])
    with pytest.raises(AirlockError, match="too large to unpack"):
        wheels.unpack(source, str(tmp_path / "place"), DIGEST)
    (tmp_path / "junk.whl").write_bytes(b"junk")
    with pytest.raises(AirlockError, match="the archive is damaged"):
        wheels.unpack(str(tmp_path / "junk.whl"), str(tmp_path / "place"), DIGEST)
    assert not (tmp_path / "place").exists()
