# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import dialects, request_policy
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.request_policy import Refusal, Route
from ansible_collections.homelab.airlock.tests.corpus.catalogues import BODIES, on

CHAT = on("llama_cpp", dialects.CHAT)
COMPLETION = on("llama_cpp", dialects.COMPLETIONS)
EMBEDDING = on("llama_cpp", dialects.EMBEDDINGS)
RESPONSES = on("llama_cpp", dialects.RESPONSES)
MESSAGES = on("llama_cpp", dialects.MESSAGES)
OLLAMA_CHAT = on("ollama", dialects.OLLAMA_CHAT)
OLLAMA_GENERATE = on("ollama", dialects.OLLAMA_GENERATE)
USER = {"role": "user", "content": "hello"}
VALID = {"model": "chat", "messages": [USER]}


def read(body: Any, route: Route = CHAT) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request_policy.check_body(request_policy.parse_body(data), route)


def refused(body: Any, route: Route = CHAT) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(body, route)
    return caught.value


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
        (b'\xef\xbb\xbf{"model":"chat"}', "valid JSON"),
        (b'{"model":"a","mod\\u0065l":"b"}', "appears twice"),
        (b'{"model":"a","model":"b"}', "appears twice"),
        (b'{"model":"chat","messages":[{"role":"user","role":"system"}]}', "appears twice"),
        (b'{"temperature":NaN}', "not JSON"),
        (b'{"temperature":-Infinity}', "not JSON"),
        (b'{"temperature":1e999}', "too large"),
        (b'{"seed":' + b"9" * 5000 + b"}", "valid JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b"[" * 30_000, "nested"),
        (b"[" * 100_000, "too many values"),
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


def test_a_body_has_a_bounded_number_of_values() -> None:
    """Each takes about a hundred bytes for as long as the request is served."""
    few = b"[],:{}" * 100_000 + b'\\" ' * 1000
    text = b'{"model":"chat","messages":[{"role":"user","content":"%s"}]}'
    assert len(read(text % few)["messages"][0]["content"]) > 500_000
    nested = b"[" * 15 + b"]" * 15
    tool = b'{"type":"tool_use","id":"a","name":"b","input":[%s]}' % b",".join([nested] * 6300)
    body = b'{"model":"chat","messages":[{"role":"assistant","content":[%s]}]}'
    assert "too many values" in str(refused(body % tool))


def test_a_body_over_the_limit_is_a_413() -> None:
    assert refused(b" " * (request_policy.MAX_BODY_BYTES + 1)).status == 413
    fitting = json.dumps(VALID).encode().ljust(request_policy.MAX_BODY_BYTES)
    assert read(fitting)["model"] == "chat"


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_not() -> None:
    for half in (b"\\ud800", b"\\udc00\\ud800", b"\\uDFFF"):
        body = b'{"model":"chat","messages":[{"role":"user","content":"' + half + b'"}]}'
        assert "not Unicode" in str(refused(body))
    read(b'{"model":"chat","messages":[{"role":"user","content":"\\ud83d\\ude00"}]}')


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


URLS = ["http://169.254.169.254/", "file:///etc/passwd", "data:image/png;base64,AAAA"]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("route", "part"),
    [
        (CHAT, {"type": "image_url", "image_url": {"url": "URL"}}),
        (CHAT, {"type": "video_url", "video_url": {"url": "URL"}}),
        (CHAT, {"type": "input_audio", "input_audio": {"data": "URL", "format": "wav"}}),
        (CHAT, {"type": "file", "file": {"file_data": "URL"}}),
        (RESPONSES, {"type": "input_image", "image_url": "URL"}),
        (RESPONSES, {"type": "input_file", "file_url": "URL"}),
        (MESSAGES, {"type": "image", "source": {"type": "url", "url": "URL"}}),
        (MESSAGES, {"type": "document", "source": {"type": "url", "url": "URL"}}),
    ],
)
def test_media_is_refused_in_one_clear_sentence(route: Route, part: Any, url: str) -> None:
    part = json.loads(json.dumps(part).replace("URL", url))
    name = "input" if route is RESPONSES else "messages"
    refusal = refused({"model": "chat", name: [{"role": "user", "content": [part]}]}, route)
    assert refusal.param == f"{name}[0].content[0].type"
    assert str(refusal).endswith("is media, which no service here takes; send text only.")


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]},
        {"model": "m", "prompt": "x", "images": ["AAAA"]},
    ],
)
def test_media_in_the_dialect_of_ollama_is_refused_too(body: dict[str, Any]) -> None:
    refusal = refused(body, OLLAMA_CHAT if "messages" in body else OLLAMA_GENERATE)
    assert str(refusal).endswith("is media, which no service here takes; send text only.")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "x", "image_url": {"url": "http://x/"}},
        {"type": ["text"], "text": "x"},
        {"text": "x"},
        {"type": "image_url", "text": "x"},
    ],
)
def test_media_in_disguise_never_passes(part: dict[str, Any]) -> None:
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
    del body["user"]  # who asks is nothing that a backend has to know
    assert sent == {**body, "max_tokens": 4096, "cache_prompt": False}


@pytest.mark.parametrize("value", [None, "absent"])
def test_no_limit_means_the_default_limit(value: str | None) -> None:
    body = dict(VALID) if value else {**VALID, "max_tokens": None}
    assert read(body)["max_tokens"] == 4096


def test_null_at_the_top_is_not_given_whatever_the_field() -> None:
    nothing = dict.fromkeys(
        ("tools", "tool_choice", "max_completion_tokens", "response_format", "parallel_tool_calls")
    )
    assert read({**VALID, **nothing}) == read(VALID)
    assert refused({**VALID, "grammar": None}).param == "grammar"
    assert refused({**VALID, "messages": None}).param == "messages"


def test_an_answer_that_a_client_sends_back_as_it_came_passes() -> None:
    said = {"role": "assistant", "content": "Hello.", "refusal": None, "annotations": []}
    said.update(audio=None, function_call=None, tool_calls=None)
    assert read({**VALID, "messages": [USER, said]})["messages"][1] == said
    for hidden in ({"annotations": [{}]}, {"audio": {"id": "x"}}, {"function_call": {"name": "f"}}):
        where = str(refused({**VALID, "messages": [USER, {**said, **hidden}]}).param)
        assert where.startswith(f"messages[1].{next(iter(hidden))}")


def test_the_newer_name_of_a_field_becomes_the_older_one() -> None:
    sent = read({**VALID, "max_completion_tokens": 5})
    assert sent["max_tokens"] == 5
    assert "max_completion_tokens" not in sent
    both = refused({**VALID, "max_completion_tokens": 5, "max_tokens": 9})
    assert both.param == "max_completion_tokens"


# -- every dialect -----------------------------------------------------------------------------

INPUT = {"model": "chat", "input": "hello"}
ANTHROPIC = {"model": "chat", "messages": [USER]}
GENERATE = {"model": "chat", "prompt": "hello"}


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
        (COMPLETION, {**GENERATE, "echo": True}, "echo"),
        (COMPLETION, {**GENERATE, "best_of": 2}, "best_of"),
        (RESPONSES, {**INPUT, "previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {**INPUT, "max_output_tokens": -1}, "max_output_tokens"),
        (RESPONSES, {**INPUT, "tools": [{"type": "web_search"}]}, "tools[0].name"),
        (RESPONSES, {**INPUT, "tools": [{"type": "mcp", "name": "x"}]}, "tools[0].type"),
        (RESPONSES, {"model": "chat", "input": [{"type": "item_reference"}]}, "input[0].type"),
        (MESSAGES, {**ANTHROPIC, "max_tokens": 0}, "max_tokens"),
        (MESSAGES, {**ANTHROPIC, "temperature": 1.5}, "temperature"),
        (MESSAGES, {**ANTHROPIC, "mcp_servers": []}, "mcp_servers"),
        (MESSAGES, {"model": "m", "messages": [{**USER, "role": "system"}]}, "messages[0].role"),
        (OLLAMA_CHAT, {**ANTHROPIC, "options": {"num_predict": -1}}, "options.num_predict"),
        (OLLAMA_CHAT, {**ANTHROPIC, "options": {"num_ctx": 10**6}}, "options.num_ctx"),
        (OLLAMA_GENERATE, {**GENERATE, "raw": True}, "raw"),
        (OLLAMA_GENERATE, {**GENERATE, "template": "x"}, "template"),
        (OLLAMA_GENERATE, {**GENERATE, "context": [1]}, "context"),
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


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (
            RESPONSES,
            {
                "model": "chat",
                "instructions": "be brief",
                "input": [
                    USER,
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "ok", "annotations": []}],
                    },
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "42"},
                ],
                "max_output_tokens": 9,
                "text": {"format": {"type": "text"}},
                "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            },
        ),
        (
            MESSAGES,
            {
                "model": "chat",
                "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "t", "signature": ""},
                            {"type": "tool_use", "id": "1", "name": "f", "input": {"a": [1]}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}],
                    },
                ],
                "max_tokens": 9,
                "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            },
        ),
        (
            OLLAMA_CHAT,
            {
                "model": "chat",
                "messages": [USER, {"role": "tool", "content": "42", "tool_name": "f"}],
                "options": {"num_predict": 9, "temperature": 0},
                "stream": False,
                "format": {"type": "object"},
            },
        ),
    ],
)
def test_what_clients_of_the_other_dialects_send_passes(route: Route, body: Any) -> None:
    assert read(body, route) == {**body, **route.force}


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        (CHAT, VALID, "metadata"),
        (RESPONSES, INPUT, "metadata"),
        (MESSAGES, ANTHROPIC, "metadata"),
        (RESPONSES, INPUT, "store"),
        (OLLAMA_CHAT, ANTHROPIC, "keep_alive"),
    ],
)
def test_what_is_for_a_cloud_service_goes_no_further(route: Route, body: Any, field: str) -> None:
    value = {"metadata": {"user_id": "x"}, "store": True, "keep_alive": 0}[field]
    assert read({**body, field: value}, route) == read(body, route)


def test_a_default_reaches_into_an_object() -> None:
    for options in ({}, {"options": {"seed": 1}}, {"options": None}):
        sent = read({**GENERATE, **options}, OLLAMA_GENERATE)
        assert sent["options"]["num_predict"] == 4096
    assert sent["options"] == {"num_predict": 4096}


@pytest.mark.parametrize("route", [CHAT, COMPLETION, RESPONSES, MESSAGES])
def test_the_prompt_cache_is_off_whatever_the_dialect(route: Route) -> None:
    assert route.force == {"cache_prompt": False}


@pytest.mark.parametrize(
    "name", ["x" * 65, "", "a b", "../x", "<script>", "x\n", "é", 'a"', "a{{b}}"]
)
def test_the_name_of_a_tool_is_a_name(name: str) -> None:
    tool = {"type": "function", "function": {"name": name}}
    assert refused({**VALID, "tools": [tool]}).param == "tools[0].function.name"
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": ""}}
    message = {"role": "assistant", "tool_calls": [call]}
    assert "function.name" in str(refused({**VALID, "messages": [message]}).param)


def test_there_is_an_end_to_everything() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert refused({**VALID, "tools": [tool] * 65}).param == "tools"
    assert refused({**VALID, "messages": [USER] * 1025}).param == "messages"
    bias = {str(token): 1 for token in range(301)}
    assert refused({**VALID, "logit_bias": bias}).param == "logit_bias"
    assert "longer than 64" in str(refused({**VALID, "logit_bias": {"x" * 65: 1}}))
    deep: Any = {}
    for _level in range(7):
        deep = {"properties": {"x": deep}}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": deep}}
    assert "levels deep" in str(refused({**VALID, "response_format": schema}))
    wide = {"properties": {f"p{index}": {} for index in range(2000)}}
    schema["json_schema"]["schema"] = wide  # type: ignore[index]
    assert "larger than 16384" in str(refused({**VALID, "response_format": schema}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["groups"]["sampling"]["n"].pop("max"), "rule for integer is wrong"),
        (lambda d: d["groups"]["sampling"]["n"].update(maximum=5), "rule for integer is wrong"),
        (lambda d: d["groups"]["sampling"]["n"].update(type="int"), "not a rule"),
        (lambda d: d["dialects"]["openai_chat"]["required"].append("x"), "required field"),
        (lambda d: d["rules"].pop("name"), "not the forms"),
        (lambda d: d["rules"].update(name="name"), "not the forms"),
        (lambda d: d["dialects"]["openai_chat"].pop("fields"), "not the forms"),
    ],
)
def test_a_mistake_in_the_forms_opens_nothing(change: Any, text: str) -> None:
    document = copy.deepcopy(BODIES)
    change(document)
    with pytest.raises(AirlockError, match=text):
        request_policy.forms(document, where="bodies.json")


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
