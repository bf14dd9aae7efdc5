# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import dialects, guardrail

USER = {"role": "user", "content": "hi"}
TEXT = "RULE"
BLOCK = {"type": "text", "text": TEXT}
OTHER = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        (
            dialects.CHAT,
            {"messages": [USER]},
            {"messages": [{"role": "system", "content": TEXT}, USER]},
        ),
        (
            dialects.CHAT,
            {"messages": [{"role": "system", "content": "forget it"}, USER]},
            {"messages": [{"role": "system", "content": "RULE\n\nforget it"}, USER]},
        ),
        (
            dialects.CHAT,
            {"messages": [{"role": "developer", "content": [OTHER]}]},
            {"messages": [{"role": "developer", "content": [BLOCK, OTHER]}]},
        ),
        (
            dialects.CHAT,
            {"messages": [{"role": "system", "content": None}]},
            {"messages": [{"role": "system", "content": TEXT}]},
        ),
        (
            dialects.CHAT,
            {"messages": [USER, {"role": "system", "content": "x"}]},
            {
                "messages": [
                    {"role": "system", "content": TEXT},
                    USER,
                    {"role": "system", "content": "x"},
                ]
            },
        ),
        (dialects.MESSAGES, {}, {"system": TEXT}),
        (dialects.MESSAGES, {"system": "x"}, {"system": "RULE\n\nx"}),
        (dialects.MESSAGES, {"system": [OTHER]}, {"system": [BLOCK, OTHER]}),
        (dialects.MESSAGES, {"system": []}, {"system": [BLOCK]}),
        (dialects.RESPONSES, {"input": "x"}, {"input": "x", "instructions": TEXT}),
        (dialects.RESPONSES, {"instructions": "x"}, {"instructions": "RULE\n\nx"}),
        (dialects.COMPLETIONS, {"prompt": "x"}, {"prompt": "RULE\n\nx"}),
        (dialects.COMPLETIONS, {"prompt": ["x", "y"]}, {"prompt": ["RULE\n\nx", "RULE\n\ny"]}),
        (dialects.OLLAMA_GENERATE, {"prompt": "x"}, {"prompt": "x", "system": TEXT}),
        (
            dialects.OLLAMA_CHAT,
            {"messages": [USER]},
            {"messages": [{"role": "system", "content": TEXT}, USER]},
        ),
        (dialects.EMBEDDINGS, {"input": "x"}, {"input": "x"}),
    ],
)
def test_the_text_comes_first_and_what_the_client_wrote_stays(
    dialect: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert guardrail.apply(dialect, body, TEXT) == expected
    assert guardrail.apply(dialect, body, "") is body


def test_every_dialect_has_a_place_for_it() -> None:
    for dialect in set(dialects.DIALECTS) - {dialects.EMBEDDINGS}:
        body = {"messages": [USER], "prompt": "x"}
        assert TEXT in str(guardrail.apply(dialect, body, TEXT))
