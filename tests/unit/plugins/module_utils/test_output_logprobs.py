# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted secrets in token probabilities, which spell an answer out a second time."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
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
from .streams_of import CONTENT

DIALECTS = [dialect for dialect in streams_of.KINDS if dialect != dialects.MESSAGES]
Event = dict[str, Any]


def logprobs(dialect: str, tokens: list[str]) -> Any:
    if dialect == dialects.COMPLETIONS:
        return {"tokens": tokens, "token_logprobs": [-0.1] * len(tokens)}
    entries = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
    return {"content": entries} if dialect == dialects.CHAT else entries


def pieces_of(rnd: random.Random, text: str) -> list[str]:
    cuts = sorted({0, len(text), *(rnd.randrange(len(text)) for _cut in range(6))})
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def holders(dialect: str, events: list[Event], index: int) -> Iterator[Event]:
    """Return what may have the probabilities of a choice's pieces, in the order of the pieces."""
    for event in events:
        if dialect == dialects.RESPONSES:
            if event["type"].endswith(".delta") and event["output_index"] == index:
                yield event
        elif dialect in dialects.LINES:
            yield event
        else:
            yield from (choice for choice in event["choices"] if choice["index"] == index)


def repeated(value: Any) -> Iterator[Event]:
    """Return the parts of a response that have the whole text, and so all of its tokens."""
    if isinstance(value, dict):
        if "text" in value:
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        yield from repeated(item)


def spoken(dialect: str, texts: list[list[str]], shift: int) -> bytes:
    """Return a stream whose probabilities come ``shift`` events after their text."""
    events = streams_of.events(dialect, streams_of.stream(dialect, CONTENT, texts))
    for index, pieces in enumerate(texts):
        places = list(holders(dialect, events, index))
        first = next(n for n, place in enumerate(places) if pieces[0] in texts_of(place))
        for number, piece in enumerate(pieces):
            place = places[min(max(first + number + shift, 0), len(places) - 1)]
            place.setdefault("said", []).append(piece)
    for event in events:
        for place in (event, *event.get("choices", [])):
            if "said" in place:
                place["logprobs"] = logprobs(dialect, place.pop("said"))
        if dialect == dialects.RESPONSES and not event["type"].endswith(".delta"):
            for part in repeated(event):
                part["logprobs"] = logprobs(dialect, [part["text"]])
    return b"".join(dialects.frame(dialect, event) for event in events)


def texts_of(place: Event) -> list[str]:
    inner = (place, place.get("delta"), place.get("message"))
    return [
        value
        for holder in inner
        for value in (holder.values() if isinstance(holder, dict) else [holder])
        if isinstance(value, str)
    ]


def said(value: Any) -> str:
    """Return all tokens in a document, joined."""
    if isinstance(value, dict):
        here = dialects.spelled(value["logprobs"]) if "logprobs" in value else ""
        return here + "".join(said(item) for name, item in value.items() if name != "logprobs")
    return "".join(map(said, value)) if isinstance(value, list) else ""


@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_token_says_what_was_masked(dialect: str, count: int, shift: int) -> None:
    count = 1 if dialect in dialects.LINES else count
    rnd = random.Random(f"{dialect} {count} {shift}")  # noqa: S311 - places to cut at
    for secret, mask in PLANTED.values():
        for _round in range(4):
            texts = [pieces_of(rnd, LEAD + secret + TRAIL) for _choice in range(count)]
            screen = AnswerFilter(RULES, dialect)
            events = EventCleaner(Cleaner(dialect, "m", Tokens(), screen))
            data = events.feed(spoken(dialect, texts, shift)) + events.finish()
            read = streams_of.read(dialect, data)
            assert [read[index, CONTENT] for index in range(count)] == [LEAD + mask + TRAIL] * count
            left = said(streams_of.events(dialect, data))
            stays = LEAD + mask.partition(put_in(mask))[0]
            assert not left.replace(LEAD, "").strip(stays), (secret, left)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tokens_of_ordinary_text_stay(dialect: str) -> None:
    texts = [["It costs ", "12 euro", ", or ", "thirteen", "."]]
    events = EventCleaner(Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect)))
    data = events.feed(spoken(dialect, texts, 0)) + events.finish()
    assert "It costs 12 euro, or thirteen." in said(streams_of.events(dialect, data))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tokens_of_a_whole_answer_are_looked_at_themselves(dialect: str) -> None:
    secret, _mask = PLANTED["github"]
    answer = json.loads(streams_of.document(dialect, CONTENT, ["Here it is."]))
    place = next(repeated(answer["output"])) if dialect == dialects.RESPONSES else answer
    (place.get("choices") or [place])[0]["logprobs"] = logprobs(dialect, [secret[:9], secret[9:]])
    for stop in (False, True):
        screen = AnswerFilter(RULES, dialect, stop=stop)
        cleaner = Cleaner(dialect, "m", Tokens(), screen)
        data = json.dumps(answer).encode()
        if stop:
            with pytest.raises(Stopped):
                cleaner.document(data, Largest(10**6, 10**5))
        else:
            assert secret[9:].encode() not in cleaner.document(data, Largest(10**6, 10**5))


def entry(dialect: str, token: str, alternatives: list[str]) -> Any:
    """Return the probabilities of one token, with others that the model might have said."""
    if dialect == dialects.COMPLETIONS:
        return {
            "tokens": [token],
            "token_logprobs": [-0.1],
            "top_logprobs": [dict.fromkeys(alternatives, -2.0)],
        }
    one = {
        "token": token,
        "logprob": -0.1,
        "bytes": list(token.encode()),
        "top_logprobs": [
            {"token": text, "logprob": -2.0, "bytes": list(text.encode())} for text in alternatives
        ],
    }
    return {"content": [one]} if dialect == dialects.CHAT else [one]


def beside(dialect: str, pieces: list[str]) -> bytes:
    """Return a stream of harmless tokens, each of which has a piece and some more beside it."""
    said = ["well "] * len(pieces)
    events = streams_of.events(dialect, streams_of.stream(dialect, CONTENT, [said]))
    places = [place for place in holders(dialect, events, 0) if "well " in texts_of(place)]
    for place, piece in zip(places, pieces, strict=True):
        place["logprobs"] = entry(dialect, "well ", ["so", piece])
    return b"".join(dialects.frame(dialect, event) for event in events)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_not_said_does_not_leave_beside_what_was(dialect: str) -> None:
    secret, _mask = PLANTED["airlock-key"]
    for cut in range(len(secret)):
        screen = AnswerFilter(RULES, dialect)
        events = EventCleaner(Cleaner(dialect, "m", Tokens(), screen))
        pieces = [secret[:cut], secret[cut:]]
        data = events.feed(beside(dialect, pieces)) + events.finish()
        left = streams_of.events(dialect, data)
        assert said(left) == "well well " and not screen.found
        assert not [piece for piece in pieces if piece and json.dumps(piece).encode() in data]
        assert str(list(secret[cut:].encode()))[1:-1].replace(" ", "").encode() not in data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_alternatives_of_a_whole_answer_do_not_leave(dialect: str) -> None:
    secret, _mask = PLANTED["airlock-key"]
    answer = json.loads(streams_of.document(dialect, CONTENT, ["Here it is."]))
    place = next(repeated(answer["output"])) if dialect == dialects.RESPONSES else answer
    (place.get("choices") or [place])[0]["logprobs"] = entry(dialect, "Here it is.", [secret])
    cleaner = Cleaner(dialect, "m", Tokens(), AnswerFilter(RULES, dialect))
    cleaned = cleaner.document(json.dumps(answer).encode(), Largest(10**6, 10**5))
    assert secret.encode() not in cleaned
    assert said(json.loads(cleaned)) == "Here it is."


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != dialects.COMPLETIONS])
def test_bytes_stay_where_they_are_those_of_the_token(dialect: str) -> None:
    for text, data in (("Grüße", "Grüße".encode()), ("x", b"AKIA"), ("\ufffd", "🗝".encode()[:3])):
        made = entry(dialect, text, [])
        one = (made["content"] if dialect == dialects.CHAT else made)[0]
        one["bytes"] = list(data)
        dialects.drop_unsaid(made)
        assert ("bytes" in one) is (data.decode("utf-8", "replace") == text != "\ufffd")
        assert one["top_logprobs"] == [] and one["logprob"] == -0.1
