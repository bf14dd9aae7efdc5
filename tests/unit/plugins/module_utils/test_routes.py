# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import dialects, routes
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.request_policy import Refusal
from ansible_collections.homelab.airlock.tests.corpus.catalogues import (
    BACKENDS,
    BODIES,
    CATALOGUE,
    FILES,
    FORMS,
)

OPENAI = {
    ("GET", "/v1/models"): routes.MODELS,
    ("POST", "/v1/chat/completions"): dialects.CHAT,
    ("POST", "/v1/completions"): dialects.COMPLETIONS,
    ("POST", "/v1/responses"): dialects.RESPONSES,
    ("POST", "/v1/embeddings"): dialects.EMBEDDINGS,
}
ANTHROPIC = {("POST", "/v1/messages"): dialects.MESSAGES}
OLLAMA = {
    ("GET", "/api/tags"): routes.TAGS,
    ("POST", "/api/chat"): dialects.OLLAMA_CHAT,
    ("POST", "/api/generate"): dialects.OLLAMA_GENERATE,
}
LISTED = {
    *(("GET", path) for path in routes.OWN),
    ("POST", "/v1/messages?beta=true"),
    *OPENAI,
    *ANTHROPIC,
    *OLLAMA,
}


@pytest.mark.parametrize(
    ("backend", "served"),
    [
        ("llama_cpp", {**OPENAI, **ANTHROPIC}),
        ("ollama", {**OPENAI, **ANTHROPIC, **OLLAMA}),
        # The dialect has no field that would keep prompt caches of keys apart.
        ("vllm", OPENAI),
    ],
)
def test_what_is_served_is_what_was_asked_for(
    backend: str, served: dict[tuple[str, str], str]
) -> None:
    entries = BACKENDS[backend]["routes"]
    assert {
        (entry["method"], entry["path"]): entry["dialect"]
        for entry in entries
        if "dialect" in entry
    } == served
    known = [(entry["method"], entry["path"]) for entry in entries]
    assert len(known) == len(set(known))


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_known_route_that_is_not_served_does_not_exist(backend: str) -> None:
    entries = BACKENDS[backend]["routes"]
    unserved = [entry for entry in entries if "dialect" not in entry]
    assert len(unserved) > 20
    for entry in unserved:
        if (entry["method"], entry["path"]) not in LISTED:
            with pytest.raises(Refusal) as caught:
                CATALOGUE.find(entry["method"], entry["path"].replace("{id}", "x"))
            assert caught.value.status == 404
    assert not [entry for entry in entries if entry["kind"] == "admin" and "dialect" in entry]


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_catalogue_says_when_and_from_what_it_was_taken(backend: str) -> None:
    document = BACKENDS[backend]
    assert document["backend"] == backend
    assert date.fromisoformat(document["dated"]) >= date(2026, 11, 21)
    assert document["source"]
    assert all(re.fullmatch(r"\d+(\.\d+)*", version) for version in document["versions"])


def test_a_service_has_the_routes_of_its_backend() -> None:
    tags = CATALOGUE.find("GET", "/api/tags")
    tags.need(["llama_cpp", "ollama"])
    for backends in ([], ["llama_cpp"], ["vllm", "llama_cpp"]):
        with pytest.raises(Refusal):
            tags.need(backends)
    messages = CATALOGUE.find("POST", "/v1/messages")
    assert messages.on("llama_cpp").dialect == dialects.MESSAGES
    for backend in ("vllm", "nothing"):
        with pytest.raises(Refusal) as caught:
            messages.on(backend)
        assert caught.value.status == 404
    assert CATALOGUE.find("POST", "/v1/responses").on("vllm").salt == "cache_salt"


def test_an_error_is_told_in_the_dialect_of_its_route() -> None:
    assert CATALOGUE.dialect("POST", "/v1/messages") == dialects.MESSAGES
    assert CATALOGUE.dialect("POST", "/nothing") == dialects.CHAT


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/slots",
        "/props",
        "/metrics",
        "/models",
        "/completion",
        "/infill",
        "/tokenize",
        "/lora-adapters",
        "/apply-template",
        "/api/pull",
        "/api/push",
        "/api/create",
        "/api/delete",
        "/api/copy",
        "/api/blobs/x",
        "/invocations",
        "/pause",
        "/resume",
        "/update_weights",
        "/scale_elastic_ep",
        "/collective_rpc",
        "/load",
        "/score",
        "/v1/models/",
        "/v1/models?x=1",
        "/v1/models#",
        "/v1//models",
        "//v1/models",
        "/V1/models",
        "/v1/./models",
        "/v1/../v1/models",
        "/v1/../slots",
        "/v1/models/../../slots",
        "/v1%2fmodels",
        "/v1/%6dodels",
        "/v1\\models",
        "/v1/models%00",
        "/v1/models;x=1",
        "http://x/v1/models",
        "https://x/v1/models",
        "x:443",
        "*",
        "/v1/messages?beta=false",
        "/v1/messages?beta=true&x=1",
        "/v1/messages?BETA=true",
        "/v1/messages?",
        "/v1/responses/x",
        "/v1/messages/count_tokens",
        "/v1/models\x00",
        "/v1/model\u017f",
        "/v1/models ",
        "/v1/models\t",
        "\ufeff/v1/models",
        "",
        "/v1/rerank",
        "/v1/audio/transcriptions",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_everything_else_is_404(method: str, target: str) -> None:
    with pytest.raises(Refusal) as caught:
        CATALOGUE.find(method, target)
    assert caught.value.status == 404


@given(st.text(max_size=40), st.sampled_from(sorted(LISTED)))
def test_only_the_exact_spelling_is_found(noise: str, listed: tuple[str, str]) -> None:
    method, path = listed
    for target in (noise, path + noise, noise + path, path[:3] + noise + path[3:]):
        if (method, target) not in LISTED:
            with pytest.raises(Refusal):
                CATALOGUE.find(method, target)


@pytest.mark.parametrize(
    "path",
    [
        "v1/models",
        "/v1//models",
        "/v1/../x",
        "/v1/./x",
        "/v1/%2f",
        "/v1?x",
        "/v1#x",
        "/é",
        "/a b",
        "/a\0",
        "/a\\b",
    ],
)
def test_a_catalogue_with_an_ambiguous_path_is_refused(path: str) -> None:
    with pytest.raises(AirlockError, match="more than one spelling"):
        routes.check_path(path, "routes.json")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["routes"][0].update(kind="root"), "kind is unknown"),
        (lambda d: d["routes"][1].update(kind="admin"), "cannot be served"),
        (lambda d: d["routes"][1].update(dialect="nothing"), "cannot be served"),
        (lambda d: d["routes"][0].update(dialect="openai_chat"), "cannot be served"),
        (lambda d: d["routes"][0].update(dialect="ollama_tags"), "two backends differ"),
        (lambda d: d["routes"][1].pop("modes"), "not a route catalogue"),
        (lambda d: d["routes"][1].pop("path"), "not a route catalogue"),
        (lambda d: d["routes"][1].update(path="/v1/../x"), "more than one spelling"),
        (lambda d: d.pop("backend"), "not a route catalogue"),
        (lambda d: d.update(routes=5), "not a route catalogue"),
    ],
)
def test_a_mistake_in_the_data_file_opens_nothing(change: Any, text: str) -> None:
    document = copy.deepcopy(BACKENDS["llama_cpp"])
    change(document)
    with pytest.raises(AirlockError, match=text):
        routes.Catalogue(FORMS, [("ollama.json", BACKENDS["ollama"]), ("this", document)])


def test_the_catalogue_is_read_from_its_folder(tmp_path: Path) -> None:
    loaded = routes.load(str(FILES))
    assert loaded.paths(["llama_cpp"]) == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/models",
        "/v1/responses",
    ]
    assert "/api/chat" in loaded.paths(["llama_cpp", "ollama"])
    assert loaded.paths([]) == []
    with pytest.raises(AirlockError, match=r"bodies\.json"):
        routes.load(str(tmp_path))


def test_every_dialect_has_a_form() -> None:
    assert set(BODIES["dialects"]) == set(dialects.DIALECTS)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_verify_knocks_at_everything_that_is_not_served(backend: str) -> None:
    requests = routes.unserved(BACKENDS[backend], "GW-03")
    asked = {(request["method"], request["path"]) for request in requests}
    known = {
        (entry["method"], entry["path"].replace("{id}", "0"))
        for entry in BACKENDS[backend]["routes"]
    }
    served = {(e["method"], e["path"]) for e in BACKENDS[backend]["routes"] if "dialect" in e}
    assert asked == known - served
    for request in requests:
        assert (request["control"], request["expect_status"]) == ("GW-03", 404)
        assert ("body" in request) == (request["method"] == "POST")
