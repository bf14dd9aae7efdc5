# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads that go wrong, from a real server: one sentence each, and nothing that has a name stays."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    artifacts,
    artifacts_copy,
    formats,
)
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts_fetch import Fetcher
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.tests.corpus import hub as layouts

if TYPE_CHECKING:
    from .conftest import Hub

TINY = layouts.sha256(layouts.TINY)
SIZE = len(layouts.TINY)
PICKLE = "cos\nsystem\n(S'id'\ntR."


def offered(hub: Hub, **changes: Any) -> artifacts.Artifact:
    entry = {
        "name": "model m, m.gguf",
        "source": {"type": "https", "url": f"{hub.address}/tiny.gguf"},
        "sha256": TINY,
        "size": SIZE,
        **changes,
    }
    return artifacts.parse_offer(entry, "here")


def fetcher(hub: Hub, cache: Path) -> Fetcher:
    def no_pip(*_arguments: Any) -> tuple[int, str]:
        raise AssertionError("pip was asked")

    return Fetcher(
        str(cache), hub.ask, no_pip, lambda path, _artifact: formats.check(path, "m.gguf")
    )


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_what_git_alone_pins_becomes_a_sha256(hub: Hub, tmp_path: Path) -> None:
    artifact = offered(hub, sha256=None, git_sha1=layouts.git(layouts.TINY))
    (found,) = fetcher(hub, tmp_path).fetch_all([artifact])
    assert (found.sha256, found.size, left(tmp_path)) == (TINY, SIZE, [f"sha256-{TINY}"])
    with pytest.raises(AirlockError, match="expected git SHA-1 aaa"):
        fetcher(hub, tmp_path).fetch_all([offered(hub, sha256=None, git_sha1="a" * 40)])
    assert left(tmp_path) == [f"sha256-{TINY}"]


def test_a_truncated_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.breaks("/tiny.gguf", cut=100)
    with pytest.raises(AirlockError, match=r"ended early|could not be fetched"):
        fetcher(hub, tmp_path).fetch_all([offered(hub)])
    assert left(tmp_path) == [f".part-sha256-{TINY}"]
    hub.breaks("/nothing")
    hub.asked()
    fetcher(hub, tmp_path).fetch_all([offered(hub)])
    assert hub.asked() == ["/tiny.gguf bytes=100-"]
    assert (tmp_path / f"sha256-{TINY}").read_bytes() == layouts.TINY


def test_what_came_before_a_break_is_hashed_again(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / f".part-sha256-{TINY}").write_bytes(b"X" * 100)
    with pytest.raises(AirlockError, match="is not the one that the catalog approves"):
        fetcher(hub, tmp_path).fetch_all([offered(hub)])
    assert left(tmp_path) == []


def _longer(hub: Hub) -> artifacts.Artifact:
    return offered(hub, size=SIZE - 1)


def _another(hub: Hub) -> artifacts.Artifact:
    return offered(hub, sha256="b" * 64)


def _pickle(hub: Hub) -> artifacts.Artifact:
    hub.breaks("/tiny.gguf", body=PICKLE)
    return offered(hub, sha256=layouts.sha256(PICKLE.encode()), size=len(PICKLE))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_longer, f"larger than the catalog says: expected {SIZE - 1} bytes"),
        (_another, "is not the one that the catalog approves: expected sha256"),
        (_pickle, "the content is not what the name says: expected GGUF, found a pickle"),
    ],
)
def test_a_wrong_content_leaves_nothing_not_even_of_its_model(
    hub: Hub, tmp_path: Path, make: Callable[[Hub], artifacts.Artifact], sentence: str
) -> None:
    wrong = make(hub)
    good = offered(hub, source={"type": "file", "path": str(hub.root / "vault" / f"sha256-{TINY}")})
    with pytest.raises(AirlockError, match=sentence):
        fetcher(hub, tmp_path).fetch_all([good, wrong])
    assert [name for name in left(tmp_path) if wrong.content != good.content] == []


def test_a_server_that_fails_keeps_what_came_before(hub: Hub, tmp_path: Path) -> None:
    hub.breaks("/tiny.gguf", status=503)
    with pytest.raises(artifacts_copy.Interrupted, match=r"could not be fetched \(HTTP Error 503"):
        fetcher(hub, tmp_path).fetch_all([offered(hub)])


def test_a_disk_without_room_is_refused_before_anything_is_asked(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(f_bavail=1, f_frsize=512)
    monkeypatch.setattr(os, "statvfs", lambda _path: room)
    with pytest.raises(AirlockError, match=r"too full.*expected 1.0 KiB free, found 512 B"):
        fetcher(hub, tmp_path).fetch_all([offered(hub)])
    assert (hub.asked(), left(tmp_path)) == ([], [])


def test_a_disk_that_becomes_full_is_not_left_full(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts_copy.os, "fsync", full)
    with pytest.raises(AirlockError, match="the disk became full while the file was fetched"):
        fetcher(hub, tmp_path).fetch_all([offered(hub)])
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"sha256": None}, "nothing says what the file must be"),
        ({"sha256": None, "git_sha1": "main"}, "git_sha1: the value does not fit"),
        ({"size": 0}, "size: the number does not fit"),
    ],
)
def test_an_offer_without_a_pin_is_refused(hub: Hub, entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        offered(hub, **entry)
