# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import canonical, releases
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

SOURCE = {"type": "pypi", "package": "p", "version": "1", "sha256": "a" * 64}
MODELS = {
    "small": {
        "revision": "1",
        "licence": "MIT",
        "files": [
            {
                "path": "model.gguf",
                "size": 98_362_432,
                "sha256": "b" * 64,
                "source": {**SOURCE, "member": "m"},
            }
        ],
    }
}
ARTIFACTS = {"llama_cpp": {"sha256": "a" * 64, "size": 9, "source": SOURCE, "licence": "MIT"}}
SERVICES = {
    "embed": {"model": "small", "mode": "embedding"},
    "chat": {"model": "small", "context": 1024, "threads": 2},
}


def resolve(services: Any = None, models: Any = None) -> list[dict[str, Any]]:
    return releases.resolve(
        SERVICES if services is None else services, MODELS if models is None else models, ARTIFACTS
    )


def test_services_become_releases() -> None:
    chat, embed = resolve()
    assert (chat["service"], embed["service"]) == ("chat", "embed")
    assert chat["release"].startswith("chat-") and len(chat["release"]) == len("chat-") + 8
    assert chat["weights"] == [
        {
            "stored": f"/var/lib/airlock/store/sha256-{'b' * 64}",
            "seen": "/run/airlock/model/model-00001-of-00001.gguf",
        }
    ]
    assert chat["artifact"]["path"] == "/opt/airlock/runtimes/llama_cpp-aaaaaaaa"
    assert chat["user"] == f"airlock-r{chat['uid_index']:02}"
    assert chat["user"] != embed["user"]
    assert chat["start_timeout"] == 62
    assert chat["config"]["service"] == "chat"
    assert chat["config"]["model"] == chat["weights"][0]["seen"]
    assert embed["config"]["flags"]["mode"] == "embedding"


def test_equal_input_gives_equal_output_in_any_order() -> None:
    assert resolve(dict(reversed(SERVICES.items()))) == resolve()


def test_the_name_follows_model_runtime_and_flags() -> None:
    name = resolve()[0]["release"]
    other_model = {"small": {**MODELS["small"], "revision": "2"}}
    assert resolve(models=other_model)[0]["release"] != name
    assert resolve({**SERVICES, "chat": {"model": "small"}})[0]["release"] != name
    explicit = {
        "backend": "llama_cpp",
        "mode": "chat",
        "context": 1024,
        "parallel": 1,
        "threads": 2,
    }
    assert resolve({"chat": {"model": "small", **explicit}})[0]["release"] == name


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        (
            {"model": "big"},
            "airlock_services.chat.model: this is a model that the catalog does not have",
        ),
        ({"model": "small", "threds": 1}, "the key 'threds' is unknown: expected 'threads'"),
        (
            {"model": "small", "backend": "vllm"},
            "airlock_services.chat.backend: the value is unknown",
        ),
        ({"model": "small", "mode": "voice"}, "airlock_services.chat.mode: the value is unknown"),
        (
            {"model": "small", "context": 0},
            "airlock_services.chat.context: the number does not fit",
        ),
        (
            {"model": "small", "threads": "2"},
            "airlock_services.chat.threads: the number does not fit",
        ),
    ],
)
def test_a_bad_service_is_one_sentence(service: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AirlockError) as caught:
        resolve({"chat": service})
    assert sentence in str(caught.value)


def of_files(*paths: str) -> dict[str, Any]:
    """Return a catalog of one model with these files."""
    entry = MODELS["small"]["files"][0]
    files = [
        {**entry, "path": path, "sha256": f"{number:064x}"} for number, path in enumerate(paths, 1)
    ]
    return {"small": {**MODELS["small"], "files": files}}


def test_a_model_in_parts_is_loaded_by_its_first_and_side_files_are_left_out() -> None:
    names = [f"q/m-{number:05d}-of-00003.gguf" for number in (2, 3, 1)]
    chat = resolve(models=of_files("README.md", *names))[0]
    store = "/var/lib/airlock/store/sha256-"
    views = [f"/run/airlock/model/model-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    assert chat["weights"] == [
        {"stored": f"{store}{number:064x}", "seen": view}
        for number, view in zip((4, 2, 3), views, strict=True)
    ]
    assert chat["config"]["model"] == views[0]
    assert {file["stored"] for file in chat["weights"]} < set(chat["switch"]["inputs"])
    assert f"{store}{1:064x}" not in chat["switch"]["inputs"]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"], "found m-00002-of-00003.gguf missing"),
        (["m-00002-of-00002.gguf"], "found m-00001-of-00002.gguf missing"),
        (["m-00001-of-00001.gguf", "n.gguf"], "found n.gguf besides"),
        (["a/m-00001-of-00002.gguf", "b/m-00002-of-00002.gguf"], "found a/m-00002-of-00002.gguf"),
        (["m-00001-of-00002.gguf", "m-00002-of-00003.gguf"], "m-00002-of-00002.gguf missing"),
        (["m.gguf", "mmproj.gguf"], "found mmproj.gguf besides"),
        (["m.safetensors", "config.json"], "expected GGUF, .* found m.safetensors, config.json"),
    ],
)
def test_what_llama_cpp_cannot_load_is_one_sentence(paths: list[str], found: str) -> None:
    with pytest.raises(AirlockError, match=found) as caught:
        resolve(models=of_files(*paths))
    assert str(caught.value).startswith("airlock_services.chat: ")
    assert "\n" not in str(caught.value)


def test_users_are_distinct_and_mostly_stay() -> None:
    names = [f"service{index}-{index:08x}" for index in range(16)]
    users = releases.assign_users(names, {})
    assert sorted(users.values()) == list(range(16))
    alone = releases.assign_users(names[:1], {})
    wanted = int.from_bytes(hashlib.sha256(names[0].encode()).digest()[:4], "big") % 16
    assert alone == {names[0]: wanted}
    with pytest.raises(AirlockError, match="at most 16, those of every slot together, found 17"):
        releases.assign_users([*names, "one-more"], {})


def test_no_user_of_a_release_that_is_placed_is_given_to_another() -> None:
    (wanted,) = releases.assign_users(["chat-1"], {}).values()
    assert releases.assign_users(["chat-1"], {"chat-0": wanted}) == {"chat-1": (wanted + 1) % 16}
    # What is placed keeps its own, wherever it would go today.
    placed = {"chat-1": (wanted + 5) % 16}
    assert releases.assign_users(["chat-1"], placed) == placed
    full = {f"old-{index}": index for index in range(16)}
    with pytest.raises(AirlockError, match="found 17"):
        releases.assign_users(["chat-1"], full)


@pytest.mark.parametrize(("size", "seconds"), [(1, 62), (100_000_000, 62), (40_000_000_000, 860)])
def test_the_start_timeout_follows_the_size(size: int, seconds: int) -> None:
    assert releases.start_timeout(size) == seconds


CONFIG = resolve()[0]["config"]


def test_the_launcher_reads_what_was_written() -> None:
    config = releases.LaunchConfig.parse(canonical.dumps(CONFIG), "here")
    assert config.document() == CONFIG
    assert config.flags == releases.Flags("chat", 1024, 1, 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "here: version"),
        ({"release": "../../x"}, "here: release"),
        ({"backend": "sh"}, "here: backend"),
        ({"runtime": "relative"}, "here: runtime"),
        ({"socket": ""}, "here: socket"),
        ({"tools": True}, "the key 'tools' is unknown"),
        ({"flags": {"mode": "chat", "lora": "x"}}, "here: flags: the key 'lora' is unknown"),
        ({"flags": None}, "the key 'flags' is missing"),
    ],
)
def test_the_launcher_reads_nothing_else(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AirlockError) as caught:
        releases.LaunchConfig.parse(canonical.dumps({**CONFIG, **change}), "here")
    assert sentence in str(caught.value)
