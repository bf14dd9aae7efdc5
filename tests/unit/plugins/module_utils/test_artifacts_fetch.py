# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils.artifacts_fetch import open_https
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


class Response(io.BytesIO):
    def __init__(self, status: int) -> None:
        super().__init__(b"data")
        self.status = status


class Web:
    """Answers each request with the next of ``answers``: a status, a place to go instead, or an error."""

    def __init__(self, *answers: int | str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def __call__(self, url: str, headers: Mapping[str, str]) -> Response:
        self.asked.append((url, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int) and answer < 300:
            return Response(answer)
        where = Message()
        if isinstance(answer, str):
            where["Location"] = answer
        raise HTTPError(url, 302 if isinstance(answer, str) else answer, "no", where, None)


@pytest.mark.parametrize(
    ("answers", "start", "granted", "last"),
    [
        ((200,), 0, 0, "https://a.example/m"),
        ((206,), 7, 7, "https://a.example/m"),
        ((200,), 7, 0, "https://a.example/m"),
        ((416, 200), 7, 0, "https://a.example/m"),
        (("https://b.example/n", 206), 7, 7, "https://b.example/n"),
        (("/n", 200), 0, 0, "https://a.example/n"),
    ],
)
def test_ranges_and_redirects(
    answers: tuple[Any, ...], start: int, granted: int, last: str
) -> None:
    web = Web(*answers)
    assert open_https(web, "https://a.example/m", start)[1] == granted
    assert web.asked[-1][0] == last
    assert web.asked[0][1] == ({"Range": f"bytes={start}-"} if start else {})


@pytest.mark.parametrize(
    ("answers", "error", "sentence"),
    [
        (("http://a.example/m",), AirlockError, "redirects away from HTTPS"),
        (("file:///etc/shadow",), AirlockError, "redirects away from HTTPS"),
        (("/m",) * 5, AirlockError, "redirects in circles"),
        (("https://[::1",), AirlockError, "redirects to what is no address"),
        ((ValueError("Invalid IPv6 URL"),), AirlockError, r"no address \(Invalid IPv6 URL\)"),
        ((404,), HTTPError, "404"),
    ],
)
def test_nothing_leaves_https(
    answers: tuple[Any, ...], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        open_https(Web(*answers), "https://a.example/m", 0)
