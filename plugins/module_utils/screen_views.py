# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same text as a model may read it: without what is invisible, and decoded.

Each step is linear in the text, and what is decoded is bounded in number and size.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import unquote

MAX_VIEWS = 8
_MAX_RUNS = 16
_MAX_RUN = 4096
_DEPTH = 2
_PRINTABLE = 0.9

# Zero width, joiners, direction, variation selectors, soft hyphen, tags (Unicode 15.1, category Cf).
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e007f\U000e0100-\U000e01ef\u0300-\u036f]+"
)
_TAGS = re.compile("[\U000e0020-\U000e007e]{16,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ :,]?){8,}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_HEX_DIGITS = re.compile(r"(?:0x|\\x)?([0-9A-Fa-f]{2})")
_SPACED = re.compile(r"(?:\b[A-Za-z][ .*_-]){4,}[A-Za-z]\b")
_BYTES = frozenset(f"{mark}{value:02x}" for mark in ("", "x", "0x") for value in range(256))
_ODD = re.compile(r"[^\t-\r\x1c-~]")  # neither printable ASCII nor its white space
_WORD = re.compile(r"\w+")
_LEET = str.maketrans("013457@$", "oieastas")
_ROT13 = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm",
)


def rot13(text: str) -> str:
    """Return the text with every letter moved by half of the alphabet."""
    return text.translate(_ROT13)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in their order."""
    return _WORD.findall(text.lower())


def plain(text: str, lookalikes: Lookalikes) -> str:
    """Return ``text`` in compatibility form (NFKD, UAX #15) without marks and invisible characters."""
    if text.isascii():
        return text
    return lookalikes.replace(_INVISIBLE.sub("", unicodedata.normalize("NFKD", text)))


class Lookalikes:
    """Letters of other scripts, and the Latin ones that they look like (UTS #39)."""

    def __init__(self, table: dict[str, str]):
        self._table = table
        self._any = re.compile(f"[{''.join(map(re.escape, table))}]" if table else r"(?!)")

    def replace(self, text: str) -> str:
        """Return the text with each of them replaced."""
        return self._any.sub(lambda found: self._table[found[0]], text)


def hidden(text: str) -> str:
    """Return what a text says in tag characters, which models read and people do not see."""
    if text.isascii():
        return ""
    return " ".join(
        "".join(chr(ord(char) - 0xE0000) for char in run) for run in _TAGS.findall(text)[:_MAX_RUNS]
    )


class Decoder:
    """Decodes what can be decoded; what comes out counts only when it has one of the keywords."""

    def __init__(self, keywords: Collection[str]):
        self._keywords = frozenset(word for word in keywords if len(word) > 3)
        self._turned = frozenset(rot13(word) for word in self._keywords)

    def views(self, text: str, found: list[str]) -> Iterator[str]:
        """Return what a plain text, whose :func:`words` are ``found``, may also say: at most MAX_VIEWS other texts."""
        return itertools.islice(self._views(text, found), MAX_VIEWS)

    def _views(self, text: str, found: list[str]) -> Iterator[str]:
        level = [(text, found)]
        for _depth in range(_DEPTH):
            above, level = level, []
            for view in itertools.chain.from_iterable(itertools.starmap(self._decoded, above)):
                level.append((view, words(view)))
                yield view

    def _decoded(self, text: str, found: list[str]) -> Iterator[str]:
        lengths = list(map(len, found))
        long = max(lengths, default=0) >= 16
        if long:
            yield from _view(map(_base64_run, _BASE64.findall(text)[:_MAX_RUNS]))
        if long or sum(map(_BYTES.__contains__, found)) >= 8:
            yield from _view(map(_hex_run, _HEX.findall(text)[:_MAX_RUNS]))
        if "%" in text and len(_ESCAPE.findall(text)) >= 3:
            yield unquote(text, errors="replace")
        if self._spells(word for word in set(found) if not word.isalpha()) or self._hides(text):
            yield text.translate(_LEET)
        if len(self._turned.intersection(found)) > 1:
            yield rot13(text)
        if lengths.count(1) >= 5 and _SPACED.search(text):
            yield _SPACED.sub(lambda run: re.sub(r"[^A-Za-z]", "", run[0]), text)

    def _spells(self, mixed: Iterable[str]) -> bool:
        return not self._keywords.isdisjoint(word.translate(_LEET) for word in mixed)

    def _hides(self, text: str) -> bool:
        return ("@" in text or "$" in text) and self._spells(
            text.lower().replace("@", "a").replace("$", "s").split()
        )


def _base64_run(run: str) -> bytes:
    run = run[:_MAX_RUN].replace("-", "+").replace("_", "/")
    run = run[: len(run) - (len(run) % 4 == 1)]
    try:
        return base64.b64decode(run + "=" * (-len(run) % 4))
    except binascii.Error:
        return b""


def _hex_run(run: str) -> bytes:
    return bytes.fromhex("".join(_HEX_DIGITS.findall(run[:_MAX_RUN])))


def _view(runs: Iterable[bytes]) -> Iterator[str]:
    """Return in one text what of the runs is text."""
    texts = []
    for run in runs:
        text = run.decode("utf-8", "replace")
        if text and len(text) - len(_ODD.findall(text)) >= _PRINTABLE * len(text):
            texts.append(text)
    if texts:
        yield " ".join(texts)
