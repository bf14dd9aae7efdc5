# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a key that stands before everything its holder sends.

It goes where the dialect has its system prompt, in front of what the client put there: many chat
templates take one system message only, and only at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import dialects

_GAP = "\n\n"
Body = dict[str, Any]


def apply(dialect: str, body: Body, text: str) -> Body:
    """Return a checked ``body`` with ``text`` in front; without a text the body as it is."""
    return _PLACES[dialect](body, text) if text else body


def _chat(body: Body, text: str) -> Body:
    first, *others = body["messages"]
    if first["role"] in ("system", "developer"):
        messages = [{**first, "content": _before(first.get("content"), text)}, *others]
    else:
        messages = [{"role": "system", "content": text}, first, *others]
    return {**body, "messages": messages}


def _messages(body: Body, text: str) -> Body:
    return {**body, "system": _before(body.get("system"), text)}


def _responses(body: Body, text: str) -> Body:
    return {**body, "instructions": _before(body.get("instructions"), text)}


def _completions(body: Body, text: str) -> Body:
    prompt = body["prompt"]
    if isinstance(prompt, list):
        return {**body, "prompt": [text + _GAP + one for one in prompt]}
    return {**body, "prompt": text + _GAP + prompt}


def _nowhere(body: Body, _text: str) -> Body:
    """An embedding is of the input alone."""
    return body


_PLACES: dict[str, Callable[[Body, str], Body]] = {
    dialects.CHAT: _chat,
    dialects.COMPLETIONS: _completions,
    dialects.RESPONSES: _responses,
    dialects.EMBEDDINGS: _nowhere,
    dialects.MESSAGES: _messages,
    dialects.OLLAMA_CHAT: _chat,
    dialects.OLLAMA_GENERATE: _messages,
}


def _before(content: Any, text: str) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": text}, *content]
    return text + _GAP + content if content else text
