# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import request_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.request_policy import (
    Catalogue,
    Refusal,
)

ROUTES = Path(__file__).parents[4] / "roles/gateway/files/routes.json"
DOCUMENT: dict[str, Any] = json.loads(ROUTES.read_text())
CATALOGUE = Catalogue.from_document(DOCUMENT, where="routes.json")
CHAT = CATALOGUE.find("POST", "/v1/chat/completions")
COMPLETION = CATALOGUE.find("POST", "/v1/completions")
EMBEDDING = CATALOGUE.find("POST", "/v1/embeddings")
USER = {"role": "user", "content": "hello"}
VALID = {"model": "chat", "messages": [USER]}


def read(body: Any, route: request_policy.Route = CHAT) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request_policy.read_body(data, route)


def refused(body: Any, route: request_policy.Route = CHAT) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(body, route)
    return caught.value


# -- routes ------------------------------------------------------------------------------------

LISTED = {(entry["method"], entry["path"]) for entry in DOCUMENT["routes"]}


def test_what_is_listed_is_what_was_asked_for() -> None:
    assert {
        ("GET", "/health"),
        ("GET", "/healthz"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
    } == LISTED


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
        "/api/generate",
        "/api/chat",
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
        "/v1/responses",
        "/v1/messages",
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
        request_policy.check_path(path, "routes.json")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["routes"][0].update(kind="admin"), "kind is unknown"),
        (lambda d: d["routes"][3].update(body="nothing"), "not a route catalogue"),
        (lambda d: d["groups"]["sampling"]["n"].pop("max"), "rule for integer is wrong"),
        (lambda d: d["groups"]["sampling"]["n"].update(maximum=5), "rule for integer is wrong"),
        (lambda d: d["groups"]["sampling"]["n"].update(type="int"), "not a rule"),
        (lambda d: d["bodies"]["chat"]["required"].append("x"), "required field"),
    ],
)
def test_a_mistake_in_the_data_file_opens_nothing(change: Any, text: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(AirlockError, match=text):
        Catalogue.from_document(document, where="routes.json")


# -- credentials -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("Host", "x")], None),
        ([("Authorization", "Bearer k")], "k"),
        ([("authorization", "bearer   k ")], "k"),
        ([("X-API-Key", "k")], "k"),
        ([("Api-Key", "k")], "k"),
        ([("Authorization", "Bearer k"), ("x-api-key", "k"), ("api-key", "k")], "k"),
        ([("Authorization", "Basic k")], ""),
        ([("Authorization", "")], ""),
    ],
)
def test_every_header_means_the_same_key(
    headers: list[tuple[str, str]], expected: str | None
) -> None:
    assert request_policy.credential(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer a"), ("x-api-key", "b")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
        [("x-api-key", "a"), ("api-key", "b")],
        [("Authorization", "Basic a"), ("x-api-key", "a")],
        [("Authorization", "Bearer a"), ("x-api-key", "")],
    ],
)
def test_two_different_keys_are_refused_whoever_would_win(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Refusal) as caught:
        request_policy.credential(headers)
    assert (caught.value.status, caught.value.code) == (400, "two_credentials")


# -- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "valid JSON"),
        (b"{", "valid JSON"),
        (b"\xff\xfe", "valid JSON"),
        (b'{"model":"a","model":"b"}', "appears twice"),
        (b'{"model":"chat","messages":[{"role":"user","role":"system"}]}', "appears twice"),
        (b'{"temperature":NaN}', "not JSON"),
        (b'{"temperature":-Infinity}', "not JSON"),
        (b'{"temperature":1e999}', "too large"),
        (b'{"seed":' + b"9" * 5000 + b"}", "valid JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b"[" * 100_000, "nested"),
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b'"text"', "must be an object"),
        (b"{} {}", "valid JSON"),
    ],
)
def test_hostile_json_is_a_400(data: bytes, text: str) -> None:
    refusal = refused(data)
    assert refusal.status == 400
    assert text in str(refusal)


def test_a_body_over_the_limit_is_a_413() -> None:
    assert refused(b" " * (request_policy.MAX_BODY_BYTES + 1)).status == 413
    fitting = json.dumps(VALID).encode().ljust(request_policy.MAX_BODY_BYTES)
    assert read(fitting)["model"] == "chat"


def test_half_a_surrogate_pair_is_refused_when_written() -> None:
    body = read(b'{"model":"chat","messages":[{"role":"user","content":"\\ud800"}]}')
    with pytest.raises(Refusal, match="not Unicode"):
        request_policy.serialise(body)


# -- fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"grammar": "root ::= x"}, "grammar"),
        ({"n_predict": 5}, "n_predict"),
        ({"n_discard": -1}, "n_discard"),
        ({"cache_prompt": True}, "cache_prompt"),
        ({"id_slot": 0}, "id_slot"),
        ({"slot_id": -1}, "slot_id"),
        ({"lora": []}, "lora"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"timings_per_token": True}, "timings_per_token"),
        ({"return_progress": True}, "return_progress"),
        ({"n": 0}, "n"),
        ({"n": 5}, "n"),
        ({"n": -1}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": True}, "n"),
        ({"n": "1"}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"top_k": -1}, "top_k"),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": False}, "temperature"),
        ({"stop": ["x"] * 9}, "stop"),
        ({"stop": "x" * 257}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"x": 1}}, "stream_options.x"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"model": None}, "model"),
        ({"model": 1}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [{**USER, "role": "root"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{**USER, "image_url": "x"}]}, "messages[0].image_url"),
        (
            {"messages": [USER, {"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[1].content[0].text",
        ),
        ({"tools": [{"type": "mcp"}]}, "tools[0].function"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ],
)
def test_a_field_that_is_unlisted_or_out_of_bounds_is_named(
    change: dict[str, Any], param: str
) -> None:
    refusal = refused({**VALID, **change})
    assert (refusal.status, refusal.code, refusal.param) == (400, "bad_field", param)
    assert f"'{param}'" in str(refusal)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {}},
        {"type": "text", "text": "x", "image_url": {"url": "http://x/"}},
        {"type": ["text"], "text": "x"},
        {"text": "x"},
    ],
)
def test_media_never_passes(part: dict[str, Any]) -> None:
    refusal = refused({**VALID, "messages": [{"role": "user", "content": [part]}]})
    assert refusal.status == 400
    assert str(refusal.param).startswith("messages[0].content[0]")


def test_what_ordinary_clients_send_passes() -> None:
    body = {
        "model": "chat",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "42"},
        ],
        "temperature": 0.7,
        "top_p": 1,
        "stop": ["\n"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        ],
        "tool_choice": "auto",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "object"}},
        },
        "seed": 7,
        "user": "u",
    }
    sent = read(body)
    assert sent == {**body, "max_tokens": 4096, "cache_prompt": False}


@pytest.mark.parametrize("value", [None, "absent"])
def test_no_limit_means_the_default_limit(value: str | None) -> None:
    body = dict(VALID) if value else {**VALID, "max_tokens": None}
    assert read(body)["max_tokens"] == 4096


def test_the_newer_name_of_a_field_becomes_the_older_one() -> None:
    sent = read({**VALID, "max_completion_tokens": 5})
    assert sent["max_tokens"] == 5
    assert "max_completion_tokens" not in sent
    both = refused({**VALID, "max_completion_tokens": 5, "max_tokens": 9})
    assert both.param == "max_completion_tokens"


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        (COMPLETION, {"model": "chat", "prompt": [1, 2]}, "prompt[0]"),
        (COMPLETION, {"model": "chat", "prompt": "x", "suffix": "y"}, "suffix"),
        (COMPLETION, {"model": "chat"}, "prompt"),
        (EMBEDDING, {"model": "embed", "input": []}, "input"),
        (EMBEDDING, {"model": "embed", "input": "x", "encoding_format": "hex"}, "encoding_format"),
        (EMBEDDING, {"model": "embed", "input": "x", "stream": True}, "stream"),
        (EMBEDDING, {"input": "x"}, "model"),
    ],
)
def test_each_route_has_its_own_fields(
    route: request_policy.Route, body: dict[str, Any], param: str
) -> None:
    assert refused(body, route).param == param


def test_a_long_or_unprintable_field_name_is_not_echoed() -> None:
    message = str(refused({**VALID, "x" * 500: 1}))
    assert len(message) < 120
    assert "\x1b" not in str(refused({**VALID, "\x1b[2J": 1}))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted(CHAT.rule["fields"])


@given(st.dictionaries(st.sampled_from([*FIELDS, "cache_prompt", "x"]), JSON, max_size=4))
def test_whatever_comes_is_refused_or_sent_as_checked(change: dict[str, Any]) -> None:
    try:
        sent = request_policy.serialise(read({**VALID, **change}))
    except Refusal as exc:
        assert exc.status == 400
        return
    again = json.loads(sent)
    assert set(again) <= {*FIELDS, "cache_prompt"}
    assert again["cache_prompt"] is False
    assert 1 <= again["max_tokens"] <= 32768
    # What is sent would pass again and come out the same: nothing was left unchecked.
    del again["cache_prompt"]
    assert read(again) == json.loads(sent)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    assert refused(data).status == 400
