# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.airlock.plugins.action import artifact_push

A, B = "a" * 64, "b" * 64
ARTIFACTS = [
    {"sha256": A, "size": 1, "dest": "/store/a"},
    {"sha256": B, "size": 1, "dest": "/store/b"},
]


class Push(artifact_push.ActionModule):
    """The action before a host that lacks ``missing``; remembers what it sent and ran."""

    def __init__(
        self,
        cache: Path,
        missing: list[str],
        *,
        check: bool = False,
        uid: str = "1000\n",
        have: int = 0,
        answer: dict[str, Any] | None = None,
    ) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.have = have
        self.answer = answer or {"rc": 0}
        self.told: list[str] = []
        self.ran: list[dict[str, Any]] = []
        self.missing = missing
        self.uid = uid
        self._task = SimpleNamespace(
            args={"role": "model_store", "cache": str(cache), "artifacts": ARTIFACTS},
            check_mode=check,
            async_val=0,
        )
        self._display = SimpleNamespace(v=lambda _text: None, display=self.told.append)

    def _low_level_execute_command(
        self, command: str, sudoable: bool, in_data: bytes | None = None
    ) -> dict[str, Any]:
        assert sudoable is False
        if in_data is None:
            assert command == "id -u"
            return {"stdout": self.uid}
        self.sent.append((command, in_data))
        return self.answer

    def _execute_module(self, *, module_args: dict[str, Any], **_other: Any) -> dict[str, Any]:
        self.ran.append(module_args)
        if module_args.get("phase") == "place":
            return {"changed": True}
        return {
            "changed": bool(self.missing),
            "missing": [
                {"dest": entry["dest"], "sha256": entry["sha256"], "have": self.have}
                for entry in ARTIFACTS
                if entry["dest"] in self.missing
            ],
            "staging": "/store/.incoming-1",
        }


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_push.ActionBase, "run", lambda *_arguments: {})


def test_only_what_is_missing_is_sent_and_placed(tmp_path: Path) -> None:
    (tmp_path / f"sha256-{B}").write_bytes(b"x")
    push = Push(tmp_path, ["/store/b"])
    assert push.run()["changed"] is True
    assert push.sent == [(dd(B, 0), b"x")]
    staged, placed = push.ran
    assert (staged["uploader"], placed["staging"]) == (1000, "/store/.incoming-1")
    assert placed["artifacts"] == [ARTIFACTS[1]]


@pytest.mark.parametrize(("missing", "check"), [([], False), (["/store/a"], True)])
def test_one_execution_is_enough_for_nothing(
    tmp_path: Path, missing: list[str], check: bool
) -> None:
    push = Push(tmp_path, missing, check=check)
    assert push.run()["changed"] is bool(missing)
    assert (len(push.ran), push.sent) == (1, [])


def test_an_empty_cache_and_a_chatty_shell_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="found no file; run artifact_fetch first"):
        Push(tmp_path, ["/store/a"]).run()
    with pytest.raises(AnsibleActionFail, match="expected a number, found 'Welcome!"):
        Push(tmp_path, [], uid="Welcome!\n1000\n").run()


def dd(sha256: str, offset: int) -> str:
    return (
        f"LC_ALL=C dd of=/store/.incoming-1/sha256-{sha256} bs=1M seek={offset} oflag=seek_bytes "
        "conv=notrunc iflag=fullblock status=none"
    )


def test_an_upload_goes_in_pieces_from_where_it_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_push, "_CHUNK", 3)
    monkeypatch.setattr(artifact_push, "_TELL_SECONDS", -1)
    (tmp_path / f"sha256-{B}").write_bytes(b"weights")
    push = Push(tmp_path, ["/store/b"], have=2)
    push.run()
    assert push.sent == [(dd(B, 2), b"igh"), (dd(B, 5), b"ts")]
    assert push.told[0] == "/store/b: 5 B of 7 B sent, 71 %"


def test_a_full_disk_is_one_sentence_and_the_upload_is_discarded(tmp_path: Path) -> None:
    (tmp_path / f"sha256-{B}").write_bytes(b"x")
    full = {"rc": 1, "stderr": "dd: error writing: No space left on device"}
    push = Push(tmp_path, ["/store/b"], answer=full)
    with pytest.raises(
        AnsibleActionFail, match="the disk of the host is full after 0 B; make room"
    ):
        push.run()
    assert push.ran[-1]["phase"] == "discard"


def test_a_broken_upload_is_kept_for_the_next_time(tmp_path: Path) -> None:
    (tmp_path / f"sha256-{B}").write_bytes(b"x")
    push = Push(tmp_path, ["/store/b"], answer={"rc": 255, "stderr": "Broken pipe"})
    with pytest.raises(AnsibleActionFail, match="the upload failed after 0 B: Broken pipe"):
        push.run()
    assert [each.get("phase") for each in push.ran] == [None]
