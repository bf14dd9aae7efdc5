# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases in slots need on a host, and what of that an observation leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    canonical,
    releases,
    releases_placed,
    releases_slots,
    state_releases,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

ARTIFACTS = {
    "llama_cpp": {
        "sha256": "a" * 64,
        "size": 10,
        "source": {"type": "https", "url": "https://example.org/x", "sha256": "a" * 64},
    }
}


def model(digit: str) -> dict[str, Any]:
    source = {"type": "file", "path": "/x.gguf"}
    return {
        "revision": "1",
        "licence": "MIT",
        "files": [{"path": "x.gguf", "size": 5, "sha256": digit * 64, "source": source}],
    }


def resolved(name: str, digit: str) -> dict[str, Any]:
    (found,) = releases.resolve({"chat": {"model": name}}, {name: model(digit)}, ARTIFACTS)
    return found


OLD, NEW = resolved("old", "1"), resolved("new", "2")
STORED = {each["model"]: each["weights"][0]["stored"] for each in (OLD, NEW)}
SLOTS = releases_slots.promote(
    releases_slots.keep({}, [OLD["switch"]]), {**NEW["switch"], "mode": "chat"}
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a host on which both releases are placed."""
    for release in (OLD, NEW):
        config, manifest, dropin = (
            tmp_path / path[1:] for path in releases.files_of(release["release"])
        )
        for path in (config, dropin):
            path.parent.mkdir(parents=True, exist_ok=True)
        config.write_bytes(canonical.dumps(release["config"]))
        manifest.write_bytes(canonical.dumps(release["manifest"]))
        dropin.write_text(f"[Service]\nUser={release['user']}\nGroup={release['user']}\n")
    slots = tmp_path / releases_slots.PATH[1:]
    slots.parent.mkdir(parents=True, exist_ok=True)
    slots.write_bytes(releases_slots.to_bytes(SLOTS))
    return tmp_path


def test_users_are_those_of_the_units(root: Path) -> None:
    assert releases_placed.users(SLOTS, str(root)) == {
        each["release"]: each["uid_index"] for each in (OLD, NEW)
    }
    (root / releases.files_of(OLD["release"])[2][1:]).write_text("[Service]\nUser=root\n")
    assert set(releases_placed.users(SLOTS, str(root))) == {NEW["release"]}
    assert releases_placed.users(SLOTS, str(root / "nothing")) == {}


def test_what_runs_is_told_as_the_probes_want_it(root: Path) -> None:
    broken = releases_slots.stand_in(SLOTS, "chat", "previous", "it is damaged.")
    for slots, each in ((SLOTS, NEW), (broken, OLD)):
        (found,) = releases_placed.running(slots, str(root))
        assert found["artifact"]["path"] == each["artifact"]["path"]
        for key in ("service", "release", "user", "config"):
            assert found[key] == each[key]
    assert releases_placed.running(SLOTS, str(root / "nothing")) == []


def test_a_model_that_a_slot_needs_is_not_removed(root: Path) -> None:
    both = [STORED["old"], STORED["new"]]
    releases_placed.refuse_to_remove(SLOTS, both, str(root))
    with pytest.raises(AirlockError) as caught:
        releases_placed.refuse_to_remove(SLOTS, both[1:], str(root))
    assert str(caught.value) == (
        f"{STORED['old']}: the model old is not removed: expected a model that no slot needs, "
        f"found release {OLD['release']} is previous of chat; run without pruning, or release "
        "until it has left the slots."
    )
    releases_placed.refuse_to_remove(SLOTS, [], str(root / "nothing"))


def test_who_stands_in_is_told_in_a_sentence() -> None:
    assert releases_placed.standins(SLOTS) == []
    broken = releases_slots.stand_in(SLOTS, "chat", "previous", "it is damaged.")
    (standin,) = releases_placed.standins(broken)
    assert standin["release"] == OLD["release"]
    assert standin["sentence"] == (
        f"The service chat is answered by its previous release {OLD['release']}, because "
        f"{NEW['release']} failed: it is damaged."
    )


def test_an_observation_leaves_out_what_only_waits(root: Path) -> None:
    shared = "/opt/airlock/runtimes/llama_cpp-aaaaaaaa"
    state: dict[str, Any] = {"units": {}, "files": {shared: {}, "/etc/passwd": {}}, "models": {}}
    for each in (OLD, NEW):
        unit = releases.unit_of(each["release"])
        state["units"][unit] = {}
        state["models"][Path(STORED[each["model"]]).name] = {}
        paths = [*releases.files_of(each["release"])]
        paths += [f"/var/lib/airlock/manifests/{each['model']}.json"]
        paths += [f"/etc/systemd/system/multi-user.target.wants/{unit}"]
        state["files"].update({path: {} for path in paths})
    seen = state_releases.without_waiting(state, f"{root}/")
    left = [*seen["units"], *seen["files"], *seen["models"]]
    for trace in (OLD["release"], Path(STORED["old"]).name, "/old.json"):
        assert not any(trace in item for item in left)
    for trace in (NEW["release"], Path(STORED["new"]).name, "/new.json", shared, "/etc/passwd"):
        assert any(trace in item for item in left)
    # Of both together, so that a move from one to the other is explained.
    traces = state_releases.needs({OLD["release"], NEW["release"]}, str(root))
    assert {Path(path).name for path in STORED.values()} == traces[0]
    assert shared in traces[1]
    # Nothing of a release that is current and waits in another slot, too, is left out.
    assert state_releases.without_waiting(state, str(root / "nothing")) == state
