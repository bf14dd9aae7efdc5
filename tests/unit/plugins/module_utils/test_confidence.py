# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects
from ansible_collections.homelab.airlock.plugins.module_utils.confidence import (
    CERTAIN,
    NUMBER,
    Confidence,
)

from . import streams_of
from .test_output_logprobs import DIALECTS, spoken

UNSURE = [{"logprob": -2.0}, {"logprob": -1.5}]


def said(confidence: Confidence, text: str, index: int = 0) -> None:
    confidence.left({"choices": [{"index": index, "text": text}]}, streamed=True)


def weighed(confidence: Confidence, logprobs: object, index: int = 0) -> None:
    confidence.came({"choices": [{"index": index, "logprobs": logprobs}]})


def verdicts(text: str, logprobs: object = None) -> list[str]:
    confidence = Confidence(dialects.COMPLETIONS)
    for word in text.split(" "):
        said(confidence, word + " ")
    weighed(confidence, logprobs)
    return confidence.verdicts()


def test_sure_in_words_and_unsure_in_numbers() -> None:
    assert verdicts("I am certain it is so", UNSURE) == [CERTAIN]
    assert verdicts("I am certain it is so", {"content": UNSURE}) == [CERTAIN]
    assert verdicts("Ich bin mir sicher", {"token_logprobs": [None, -3.0]}) == [CERTAIN]
    assert verdicts("I am certain it is so", [{"logprob": -0.1}]) == []
    assert verdicts("I am certain it is so") == []
    assert verdicts("perhaps it is so", UNSURE) == []


def test_a_claim_is_found_wherever_it_is_cut_and_however_often_one_asks() -> None:
    text = "xI am certainly late. Now I am certain."
    confidence = Confidence(dialects.COMPLETIONS)
    weighed(confidence, UNSURE)
    found = []
    for letter in text:
        said(confidence, letter)
        if letter in "my.":
            found.append(confidence.certain())
    assert found == [False, False, False, False, True]


def test_of_several_answers_each_has_words_and_numbers_of_its_own() -> None:
    confidence = Confidence(dialects.CHAT)
    for index, words in enumerate((["I am", " certain."], ["I am", " here."])):
        weighed(confidence, {"content": [{"logprob": -0.1 if index == 0 else -3.0}]}, index)
        for word in words:
            delta = {"choices": [{"index": index, "delta": {"content": word}}]}
            confidence.left(delta, streamed=True)
    assert not confidence.certain()
    weighed(confidence, UNSURE, 0)
    assert confidence.certain()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("probability", "unsure"), [(b"-2.0", True), (b"-0.1", False)])
def test_it_is_known_before_the_end_of_a_stream_leaves(
    dialect: str, probability: bytes, unsure: bool
) -> None:
    data = spoken(dialect, [["I am ", "cer", "tain."]], 0).replace(b"-0.1", probability)
    confidence, ends = Confidence(dialect), []
    for event in streams_of.events(dialect, data):
        confidence.came(event)
        confidence.left(event, streamed=True)
        ended = dialects.ended(dialect, event)
        if ended is None or ended:
            ends.append(confidence.certain())
    assert ends and set(ends) == {unsure}


@pytest.mark.parametrize("index", [-1, 64, 10**9])
def test_an_index_that_nobody_asked_for_opens_nothing(index: int) -> None:
    confidence = Confidence(dialects.COMPLETIONS)
    said(confidence, "I am certain.", index)
    weighed(confidence, UNSURE)
    assert confidence.certain()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It has 8,849 inhabitants.", [NUMBER]),
        ("About 12% of them.", [NUMBER]),
        ("It has 8,849 inhabitants (https://example.org/census).", []),
        ("It has 8,849 inhabitants [1].", []),
        ("According to the census it has 8,849 inhabitants.", []),
        ("It has many inhabitants.", []),
    ],
)
def test_a_number_wants_a_source(text: str, wanted: list[str]) -> None:
    assert verdicts(text) == wanted
