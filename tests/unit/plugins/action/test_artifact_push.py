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
        self, cache: Path, missing: list[str], *, check: bool = False, uid: str = "1000\n"
    ) -> None:
        self.sent: list[tuple[str, str]] = []
        self.ran: list[dict[str, Any]] = []
        self.missing = missing
        self.uid = uid
        self._task = SimpleNamespace(
            args={"role": "model_store", "cache": str(cache), "artifacts": ARTIFACTS},
            check_mode=check,
            async_val=0,
        )
        self._connection = SimpleNamespace(put_file=lambda *pair: self.sent.append(pair))
        self._display = SimpleNamespace(v=lambda _text: None)

    def _low_level_execute_command(self, command: str, sudoable: bool) -> dict[str, str]:
        assert (command, sudoable) == ("id -u", False)
        return {"stdout": self.uid}

    def _execute_module(self, *, module_args: dict[str, Any], **_other: Any) -> dict[str, Any]:
        self.ran.append(module_args)
        if module_args.get("phase") == "place":
            return {"changed": True}
        return {
            "changed": bool(self.missing),
            "missing": [{"dest": dest} for dest in self.missing],
            "staging": "/store/.incoming-1",
        }


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_push.ActionBase, "run", lambda *_arguments: {})


def test_only_what_is_missing_is_sent_and_placed(tmp_path: Path) -> None:
    (tmp_path / f"sha256-{B}").write_bytes(b"x")
    push = Push(tmp_path, ["/store/b"])
    assert push.run()["changed"] is True
    assert push.sent == [(f"{tmp_path}/sha256-{B}", f"/store/.incoming-1/sha256-{B}")]
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
