# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pattern alone cannot tell of a text that looks dangerous: checksums, and where a URL leads.

A check takes the text that its pattern matched and the hosts that links may lead to; it returns how
many of its characters are to be masked, 0 for none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

Check = Callable[[str, frozenset[str]], int]

# The lengths of the countries' IBANs (SWIFT IBAN registry, release 99).
_IBAN_LENGTHS = {
    length: frozenset(countries.split())
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
}  # fmt: skip
_IBAN_LENGTH = {country: length for length, names in _IBAN_LENGTHS.items() for country in names}
# Browsers take as many slashes as there are, and backslashes for slashes (WHATWG URL, "special
# authority ignore slashes state"); in Markdown a backslash may also vanish, so none ends a host.
_AUTHORITY = re.compile(
    r"(?:https?:[/\\]*|[/\\]{2,})([^/?#\s\"'<>)]+)([^\s\"'<>)]*)", re.IGNORECASE
)
# Browsers drop them from URLs wherever they are.
_IGNORED = str.maketrans("", "", "\t\n\r")
# Who spells out an address's letters as references, or fills it up with slashes, hides where it leads.
_DISGUISE = re.compile(r"&#|&(?:colon|sol|bsol|period|commat|tab|newline);|[/\\]{5}", re.IGNORECASE)
# How browsers read a tag (WHATWG HTML 13.2.5.8 to 13.2.5.40): its name; then attributes, whose names may
# hold "<" and quotes, and whose values hold a ">" only between quotes.
_TAG_NAME = re.compile(r"<?[^\t\n\f\r />]*")
_ATTRIBUTE = re.compile(
    r"[\t\n\f\r /]*(=?[^\t\n\f\r />=]*)"
    r"(?:[\t\n\f\r ]*=[\t\n\f\r ]*(\"[^\"]*\"?|'[^']*'?|[^\t\n\f\r >]*))?"
)
_STYLES = frozenset({"style", "background"})  # attributes that load something in whatever tag
_STYLED = re.compile("|".join(sorted(_STYLES)), re.IGNORECASE)
# A character that CSS spells as its number or behind a backslash (CSS Syntax 3, 4.3.7).
_CSS_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{1,6})\s?|([^0-9A-Fa-f]))")
_SEPARATORS = re.compile(r"[-_/&=.?#;,]+")
_EMBEDS = frozenset(
    {"img", "image", "picture", "source", "video", "audio", "track", "input", "feimage", "bgsound"}
)
_ACTIVE = frozenset(
    {"script", "iframe", "frame", "object", "embed", "link", "base", "form", "meta", "svg"}
)
# What a query needs to carry more than a search or a page number, in characters.
_QUERY = 64
# A word of a URL that long is no word but data: the longest English one in use has 28 letters.
_WORD = 32
# A tag of more characters may name its URL where nobody looked: it counts as one that does.
_LONG_TAG = 220


def luhn(text: str, _hosts: frozenset[str]) -> int:
    """Tell whether the digits of ``text`` carry the check digit of a payment card (ISO/IEC 7812-1)."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    right = (sum(digits[::-2]) + sum(doubled)) % 10 == 0
    return len(text) if right and len(set(digits)) > 1 else 0


def iban(text: str, _hosts: frozenset[str]) -> int:
    """Find the IBAN that ``text`` begins with (ISO 13616-1: country's length, mod 97 is 1)."""
    wanted = _IBAN_LENGTH.get(text[:2], 0)
    ends = [index + 1 for index, char in enumerate(text) if char != " "]
    if not wanted or len(ends) < wanted:
        return 0
    number = text[: ends[wanted - 1]].replace(" ", "")
    value = int("".join(str(int(char, 36)) for char in number[4:] + number[:4]))
    return ends[wanted - 1] if value % 97 == 1 else 0


def private_key(text: str, _hosts: frozenset[str]) -> int:
    """Tell whether ``text``, the first line of a PEM block (RFC 7468), begins a private key."""
    return len(text) if "PRIVATE KEY" in text else 0


def elsewhere(text: str, hosts: frozenset[str]) -> int:
    """Tell whether ``text`` holds a URL to a host that is not allowed, or hides one."""
    text_of_url = text.translate(_IGNORED)
    hidden = _DISGUISE.search(text_of_url)
    foreign = hidden or any(_foreign(found[1], hosts) for found in _AUTHORITY.finditer(text_of_url))
    return len(text) if foreign else 0


def embedded(text: str, hosts: frozenset[str]) -> int:
    """The same for the HTML tag that ``text`` begins with, one that loads what it names once it is shown."""
    return _loads(text, hosts) if _tag(text) in _EMBEDS else 0


def styled(text: str, hosts: frozenset[str]) -> int:
    """The same for a tag whose style or background loads something."""
    if not _STYLED.search(text):
        return 0
    end = 0
    foreign = False
    for name, value, end in _attributes(text):
        if name.lower() in _STYLES:
            goes_on = end == len(text) > _LONG_TAG
            # CSS spells characters as numbers, those of "url(" too.
            foreign = foreign or goes_on or "\\" in value or elsewhere(value, hosts) > 0
    return end if foreign else 0


def quoted(text: str, hosts: frozenset[str]) -> int:
    """The same for a tag with a bracket in it that does not end it, in either of these ways."""
    return embedded(text, hosts) or styled(text, hosts)


def sheet(text: str, hosts: frozenset[str]) -> int:
    """Tell whether ``text``, from a style sheet, is the address of something elsewhere."""
    said = _CSS_ESCAPE.sub(_css_character, text).translate(_IGNORED).strip(" ")
    if said[:5].lower() == "data:":  # has with it what it shows
        return 0
    return len(text) if elsewhere(said.partition(" ")[0], hosts) else 0


def active(text: str, hosts: frozenset[str]) -> int:
    """The same for an HTML tag that runs, frames or sends something."""
    return _loads(text, hosts) if _tag(text) in _ACTIVE else 0


def carries_data(text: str, hosts: frozenset[str]) -> int:
    """Tell whether ``text`` is a URL to a host that is not allowed and holds more than an address.

    That is a long query, percent-encoded text in one, or a word that is too long to be one.
    """
    found = _AUTHORITY.match(text)
    if not found or not _foreign(found[1], hosts):
        return 0
    rest = found[2]
    query = rest.partition("?")[2] or rest.partition("#")[2]
    words = _SEPARATORS.split(f"{found[1]}/{rest}")
    loaded = len(query) >= _QUERY or query.count("%") >= 4 or max(map(len, words)) >= _WORD
    return len(text) if loaded else 0


def email(text: str, _hosts: frozenset[str]) -> int:
    """Find the address that ``text`` begins with; its domain has a dot (RFC 5321 section 2.3.5)."""
    address = text.rstrip(".-")
    return len(address) if "." in address.rpartition("@")[2] else 0


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        luhn, iban, private_key, elsewhere, embedded, styled, quoted, sheet, active, carries_data, email,
    )
}  # fmt: skip


def _attributes(text: str) -> Iterator[tuple[str, str, int]]:
    """Return each attribute of the tag that ``text`` begins with: its name, its value, and where it ends.

    A value that began with a quote still has it.
    """
    position = _TAG_NAME.match(text).end()  # type: ignore[union-attr]  # it always matches
    while position < len(text) and text[position] != ">":
        found = _ATTRIBUTE.match(text, position)
        position = found.end()  # type: ignore[union-attr]  # here too
        yield found[1], found[2] or "", position  # type: ignore[index]


def _loads(text: str, hosts: frozenset[str]) -> int:
    end = len(text)
    if ">" in text:
        end = max((end for _name, _value, end in _attributes(text)), default=0)
    return end if end > _LONG_TAG else elsewhere(text[:end], hosts)


def _css_character(escape: re.Match[str]) -> str:
    number = int(escape[1] or "0", 16)
    return escape[2] or (chr(number) if 0 < number <= sys.maxunicode else "\ufffd")


def _tag(text: str) -> str:
    return re.match(r"<?([A-Za-z]*)", text)[1].lower()  # type: ignore[index]  # it always matches


def _foreign(authority: str, hosts: frozenset[str]) -> bool:
    host = authority.rpartition("@")[2].lower()
    return host not in hosts and re.sub(r":\d{1,5}$", "", host) not in hosts
