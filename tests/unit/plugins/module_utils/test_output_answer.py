# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted secrets against every cut of a stream, in every dialect."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.output_answer import (
    AnswerFilter,
    Stopped,
)
from ansible_collections.homelab.airlock.plugins.module_utils.response_policy import (
    Cleaner,
    EventCleaner,
    Largest,
    Tokens,
)

from . import streams_of
from .planted import LEAD, PLANTED, RULES, TRAIL, put_in
from .streams_of import ARGUMENTS, CASES, CONTENT

CASE = pytest.mark.parametrize(("dialect", "kind", "count"), CASES)


def filtered(dialect: str, chunks: Iterable[bytes]) -> tuple[bytes, set[str]]:
    screen = AnswerFilter(RULES, dialect)
    events = EventCleaner(Cleaner(dialect, "m", Tokens(), screen))
    out = b"".join([events.feed(chunk) for chunk in chunks])
    return out + events.finish(), screen.found


def check(dialect: str, kind: str, data: bytes, count: int, secret: str, mask: str) -> None:
    texts = streams_of.read(dialect, data)
    assert [texts[index, kind] for index in range(count)] == [LEAD + mask + TRAIL] * count
    half = len(secret) // 2
    for part in filter(None, (secret, secret[:half], secret[half:])):
        assert json.dumps(part, ensure_ascii=False)[1:-1].encode() not in data


@CASE
@pytest.mark.parametrize("name", PLANTED)
def test_a_secret_is_masked_whatever_the_cut(
    dialect: str, kind: str, count: int, name: str
) -> None:
    secret, mask = PLANTED[name]
    text = LEAD + secret + TRAIL
    cuts = range(len(LEAD), len(LEAD) + len(secret) + 1)
    for cut in cuts:
        pieces = [[text[:cut], text[cut:]]] * count
        data, found = filtered(dialect, [streams_of.stream(dialect, kind, pieces)])
        check(dialect, kind, data, count, secret, mask)
        assert found


@CASE
def test_a_secret_that_comes_character_by_character_is_masked(
    dialect: str, kind: str, count: int
) -> None:
    for secret, mask in PLANTED.values():
        data, _found = filtered(
            dialect, [streams_of.stream(dialect, kind, [list(LEAD + secret + TRAIL)] * count)]
        )
        check(dialect, kind, data, count, secret, mask)


@CASE
def test_no_cut_of_the_bytes_changes_what_is_masked(dialect: str, kind: str, count: int) -> None:
    # Cuts inside of UTF-8 sequences and of JSON escapes among them.
    secret, mask = PLANTED["airlock-key"]
    text = 'Grüße 🗝\\n"' + LEAD + secret + TRAIL
    whole = streams_of.stream(dialect, kind, [[text[:30], text[30:45], text[45:]]] * count)
    escaped = json.dumps(text[:30])[1:-1].encode()
    whole = whole.replace(json.dumps(text[:30], ensure_ascii=False)[1:-1].encode(), escaped)
    want, _found = filtered(dialect, [whole])
    assert mask.encode() in want and secret[:20].encode() not in want
    for cut in range(0, len(whole), 3):
        assert filtered(dialect, [whole[:cut], whole[cut:]])[0] == want
    assert filtered(dialect, [whole[i : i + 1] for i in range(len(whole))])[0] == want


@CASE
def test_random_pieces_in_random_chunks(dialect: str, kind: str, count: int) -> None:
    rnd = random.Random(f"{dialect} {kind} {count}")  # noqa: S311

    def cut(value: list, longest: int) -> Iterable[slice]:
        start = 0
        while start < len(value):
            end = start + rnd.randint(1, longest)
            yield slice(start, end)
            start = end

    for _round in range(40):
        texts, wants = [], []
        for _choice in range(count):
            text, want = LEAD, LEAD
            for name in rnd.sample(sorted(PLANTED), 3):
                secret, mask = PLANTED[name]
                text, want = text + secret + TRAIL, want + mask + TRAIL
            texts.append(text)
            wants.append(want)
        pieces = [[text[part] for part in cut(list(text), 12)] for text in texts]
        whole = streams_of.stream(dialect, kind, pieces)
        data, _found = filtered(dialect, [whole[part] for part in cut(list(whole), 90)])
        read = streams_of.read(dialect, data)
        assert [read[index, kind] for index in range(count)] == wants


@CASE
@pytest.mark.parametrize("end", ["AK", "aik_", "https://wiki.example:8443/", *PLANTED.values()])
def test_the_end_of_a_text_is_not_lost(
    dialect: str, kind: str, count: int, end: str | tuple[str, str]
) -> None:
    text, want = (end, end) if isinstance(end, str) else end
    for pieces in ([LEAD, text], [LEAD + text[:1], text[1:]]):
        data, _found = filtered(dialect, [streams_of.stream(dialect, kind, [pieces] * count)])
        read = streams_of.read(dialect, data)
        assert [read[index, kind] for index in range(count)] == [LEAD + want] * count


@CASE
def test_a_whole_answer_is_masked_too(dialect: str, kind: str, count: int) -> None:
    for secret, mask in PLANTED.values():
        text = LEAD + secret + TRAIL
        screen = AnswerFilter(RULES, dialect)
        cleaner = Cleaner(dialect, "m", Tokens(), screen)
        answer = streams_of.document(dialect, kind, [text] * count)
        data = cleaner.document(answer, Largest(10**6, 10**5))
        assert (
            data.decode().count(json.dumps(LEAD + mask + TRAIL, ensure_ascii=False)[1:-1]) == count
        )
        assert secret not in data.decode()
        assert screen.found


@pytest.mark.parametrize(
    ("dialect", "count"), [(dialect, count) for dialect, kind, count in CASES if kind == ARGUMENTS]
)
@pytest.mark.parametrize("name", PLANTED)
def test_escapes_in_the_arguments_of_a_call_hide_nothing(
    dialect: str, count: int, name: str
) -> None:
    secret, mask = PLANTED[name]
    text = LEAD + secret + TRAIL
    for spelt in (
        "".join(f"\\u{ord(char):04x}" for char in text),
        json.dumps(text)[1:-1],
        json.dumps(text)[1:-1].replace("e", "\\u0065").replace("/", "\\/"),
    ):
        arguments = f'{{"k":"{spelt}"}}'
        for pieces in ([arguments], list(arguments), [arguments[:41], arguments[41:]]):
            made = streams_of.stream(dialect, ARGUMENTS, [pieces] * count)
            data, found = filtered(dialect, [made])
            read = streams_of.read(dialect, data)
            for index in range(count):
                assert json.loads(read[index, ARGUMENTS]) == {"k": LEAD + mask + TRAIL}
            assert found and json.dumps(spelt)[1:-1].encode() not in data  # nor in what repeats it
        if dialect != dialects.MESSAGES:  # there they are no text
            whole = streams_of.document(dialect, ARGUMENTS, [arguments] * count)
            cleaner = Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect))
            answer = cleaner.document(whole, Largest(10**6, 10**5)).decode()
            assert answer.count(json.dumps(put_in(mask), ensure_ascii=False)[1:-1]) == count


@CASE
def test_text_with_nothing_in_it_is_left_alone(dialect: str, kind: str, count: int) -> None:
    text = (
        "Sie kostet 12,50 € (3 < 4): https://docs.python.org/3/library/re.html#re.search, gh, sk-1!"
    )
    data, found = filtered(dialect, [streams_of.stream(dialect, kind, [list(text)] * count)])
    assert not found
    assert streams_of.read(dialect, data)[count - 1, kind] == text


@pytest.mark.parametrize("dialect", streams_of.KINDS)
def test_an_event_of_an_unknown_type_ends_the_stream(dialect: str) -> None:
    known = streams_of.stream(dialect, CONTENT, [["hello"]])
    strange = {"type": "response.surprise", "object": "surprise", "text": PLANTED["airlock-key"][0]}
    event = dialects.frame(dialect, strange)
    with pytest.raises(AirlockError):
        filtered(
            dialect,
            [
                known.partition(b"\n\n")[0] + b"\n\n" if dialect not in dialects.LINES else b"",
                event,
            ],
        )


def test_a_block_that_opens_with_text_ends_the_stream() -> None:
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": "AK"},
    }
    with pytest.raises(AirlockError):
        filtered(dialects.MESSAGES, [dialects.frame(dialects.MESSAGES, start)])


@CASE
def test_with_stop_nothing_of_the_secret_leaves(dialect: str, kind: str, count: int) -> None:
    secret, _mask = PLANTED["airlock-key"]
    screen = AnswerFilter(RULES, dialect, stop=True)
    events = EventCleaner(Cleaner(dialect, "m", Tokens(), screen))
    out = b""
    with pytest.raises(Stopped):
        for byte in streams_of.stream(dialect, kind, [list(LEAD + secret + TRAIL)] * count):
            out += events.feed(bytes([byte]))
    assert b"aik_" not in out and secret[8:16].encode() not in out


def test_the_numbers_of_a_responses_stream_have_no_gap() -> None:
    pieces = [["the key is A", "K"], ["an S", "G"]]
    data, _found = filtered(
        dialects.RESPONSES, [streams_of.stream(dialects.RESPONSES, ARGUMENTS, pieces)]
    )
    events = streams_of.events(dialects.RESPONSES, data)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert streams_of.read(dialects.RESPONSES, data)[1, ARGUMENTS] == "an SG"


def test_the_same_thought_under_two_names_is_one_text_each() -> None:
    secret, mask = PLANTED["airlock-key"]
    made = b"".join(
        dialects.frame(dialects.CHAT, {"object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": {"reasoning": char, "reasoning_content": char}}]})
        for char in secret + "."
    )  # fmt: skip
    data, _found = filtered(dialects.CHAT, [made])
    assert streams_of.read(dialects.CHAT, data)[0, streams_of.REASONING] == mask + "."
    assert secret[10:14].encode() not in data


def test_the_tokens_of_what_is_masked_go_with_it() -> None:
    def chunk(text: str) -> bytes:
        tokens = {"content": [{"token": text, "logprob": -2.0, "bytes": [1], "top_logprobs": []}]}
        choice = {"index": 0, "delta": {"content": text}, "logprobs": tokens}
        return dialects.frame(
            dialects.CHAT, {"object": "chat.completion.chunk", "choices": [choice]}
        )

    words = ["I am certain ", "it is ", "AKIA", "IOSFODNN7", "EXAMPLE", " now"]
    data, _found = filtered(dialects.CHAT, map(chunk, words))
    left = [
        token["token"]
        for event in streams_of.events(dialects.CHAT, data)
        for choice in event["choices"]
        for token in (choice.get("logprobs") or {}).get("content", [])
    ]
    assert left == ["I am certain ", "it is "]


def calls(*deltas: dict[str, Any]) -> bytes:
    """Return a stream of chat in which a tool is called."""
    said = [{"tool_calls": [{"index": 0, **delta}]} for delta in deltas]
    events = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in said
    ]  # fmt: skip
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    events.append({"object": "chat.completion.chunk", "choices": [end]})
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


def called(data: bytes) -> list[tuple[str, str]]:
    """Return the id and the name that each event says which says one."""
    out, _found = filtered(dialects.CHAT, [data])
    found = []
    for event in streams_of.events(dialects.CHAT, out):
        for call in event["choices"][0]["delta"].get("tool_calls", ()):
            said = call.get("id", ""), call.get("function", {}).get("name", "")
            found += [said] if any(said) else []
    return found


@pytest.mark.parametrize("last", "abcdefghijklmnopqrstuvwxyzABCXYZ019_-")
def test_the_first_event_of_a_call_has_all_of_its_name(last: str) -> None:
    first = {
        "id": "call_1",
        "type": "function",
        "function": {"name": f"look_{last}", "arguments": ""},
    }
    more = [{"function": {"arguments": piece}} for piece in ('{"a":', "1}")]
    assert called(calls(first, *more)) == [("call_1", f"look_{last}")]
    assert called(calls(first, first, *more)) == [("call_1", f"look_{last}")]


def test_a_name_in_pieces_ends_the_stream() -> None:
    pieces = ("AKIA", "IOSFODNN7EXAMPLE")
    with pytest.raises(AirlockError, match="in pieces"):
        called(calls(*({"function": {"name": piece}} for piece in pieces)))
    assert "AKIA" not in str(called(calls({"function": {"name": "".join(pieces)}})))


def test_a_name_that_grows_is_whole_each_time() -> None:
    deltas = [{"id": "x", "function": {"name": name}} for name in ("get", "get_weather")]
    assert called(calls(*deltas)) == [("x", "get"), ("", "get_weather")]
    deltas[1]["function"]["name"] = "get-" + PLANTED["aws"][0]
    assert "AKIA" not in str(called(calls(*deltas)))


def test_calls_that_share_an_index_are_two() -> None:
    deltas: list[dict[str, Any]] = [
        {
            "id": name,
            "function": {"name": name, "arguments": json.dumps({"for": f"{name} ghp"})[:-2]},
        }
        for name in ("one", "two")
    ]  # the last characters of both may begin a secret
    ends: dict[str, Any] = {"function": {"arguments": '"}'}}
    data = calls(deltas[0], deltas[1], ends)
    assert called(data) == [("one", "one"), ("two", "two")]
    said, last = {"": ""}, ""
    for event in streams_of.events(dialects.CHAT, filtered(dialects.CHAT, [data])[0]):
        for call in event["choices"][0]["delta"].get("tool_calls", ()):
            last = call.get("id") or last
            said[last] = said.get(last, "") + call.get("function", {}).get("arguments", "")
    assert said == {"": "", "one": '{"for": "one ghp', "two": '{"for": "two ghp"}'}
