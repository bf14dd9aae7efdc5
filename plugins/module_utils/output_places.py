# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a text the address of an image or of a link definition begins, or one in a style sheet.

That depends on what may be any number of characters back, which no bounded pattern sees: brackets
of Markdown (CommonMark 0.31.2 sections 4.7 and 6.4), and ``<style>``. Where renderers may differ, more
counts as an image, or as a style sheet, than any of them would show.
"""

from __future__ import annotations

import re

IMAGE, DEFINITION, SHEET = "image", "definition", "sheet"
PLACES = (IMAGE, DEFINITION, SHEET)

Place = tuple[int, str]

_MAX_OPEN = 256
_MARK = re.compile(r"[!\[\]\\(:`<\n]")
_MARK_OUTSIDE = re.compile(r"[!\]\\]")  # of an image, where nothing is open and nothing came before
# What follows all that may stand before an address; a definition may be in a quote.
_ADDRESS = {IMAGE: re.compile(r"[^\s<]|\n"), DEFINITION: re.compile(r"[^\s<>]|\n")}
_BLANK = re.compile(r"[ \t\r]*")


# Each is met by its last character. In a style sheet an address stands behind a bracket or a quote; in
# the condition a[href="..."], behind "=", it loads nothing.
_SHEET = re.compile(r"[\s/>](?<=<style.)", re.IGNORECASE | re.DOTALL)
_IN_SHEET = re.compile(r"[\s/>](?<=</style.)|[(\"'](?<!=.)|`|~(?<=~~~)", re.IGNORECASE | re.DOTALL)
_SOLID = re.compile(r"\S")
_BACK = len("\\</style")  # characters before a mark's last one that belong to it


class Places:
    """Follows one text, in whatever pieces it comes: each character is looked at once."""

    def __init__(self) -> None:
        self._markdown, self._sheets = Markdown(), Sheets()

    def feed(self, text: str) -> list[Place]:
        """Return the places that begin in ``text``, the next piece: where in it, and which."""
        return sorted(self._markdown.feed(text) + self._sheets.feed(text))


class Sheets:
    """Follows the style sheets in a text, those of ``<style>`` (WHATWG HTML 4.2.6, CSS Syntax 3)."""

    def __init__(self) -> None:
        self._inside = False
        self._unsure = False  # there was code, and the end in it is not one that browsers see
        self._awaits = False  # an address may come after what is skipped
        self._before = ""

    def feed(self, text: str) -> list[Place]:
        """Return the places that begin in ``text``, the next piece: where in it, and which."""
        if not (self._inside or self._before or "<" in text):  # as nearly every text is
            return []
        places: list[Place] = []
        known = position = len(self._before)
        text = self._before + text
        while position < len(text):
            if self._awaits:
                solid = _SOLID.search(text, position)
                if not solid:
                    break
                self._awaits, position = False, solid.start()
                places.append((position - known, SHEET))
            found = (_IN_SHEET if self._inside else _SHEET).search(text, position)
            if not found:
                break
            position = found.end()
            self._mark(found[0], text.endswith("\\</style", 0, found.start()))
        self._before = text[-_BACK:] if self._inside or "<" in text[-_BACK:] else ""
        return places

    def _mark(self, mark: str, escaped: bool) -> None:
        if mark in "`~":
            self._unsure = True
        elif mark in "(\"'":
            self._awaits = True
        else:  # a <style> or its end; in Markdown a backslash takes the end its sense
            self._inside = not self._inside or self._unsure or escaped


class Markdown:
    """Follows the images and link definitions of a text."""

    def __init__(self) -> None:
        self._open: list[bool] = []  # brackets since "![", and whether each is that of an image
        self._unsure = False  # code or HTML in there may hold brackets that do not count
        self._before = ""  # the mark right before: "!", "\\", "]", or "image]" where that ends one
        self._awaits = ""  # the place whose address comes after what is skipped
        self._blank = False  # the line so far; a blank one ends what is open

    def feed(self, text: str) -> list[Place]:
        """Return the places that begin in ``text``, the next piece: where in it, and which."""
        idle = not (self._open or self._before or self._awaits)
        if idle and not _MARK_OUTSIDE.search(text):  # as nearly every text is
            return []
        places: list[Place] = []
        position = 0
        while position < len(text):
            found = self._marks().search(text, position)
            end = found.start() if found else len(text)
            if position < end:
                self._before = ""
                self._blank = self._blank and bool(_BLANK.fullmatch(text, position, end))
            if not found:
                break
            position = found.end()
            if found[0] == "\n":
                self._line()
            elif self._awaits:
                places.append((end, self._awaits))
                self._awaits, self._before, position = "", "", end
            else:
                self._blank = False
                self._mark(found[0])
        return places

    def _marks(self) -> re.Pattern[str]:
        if self._awaits:
            return _ADDRESS[self._awaits]
        return _MARK if self._open or self._before else _MARK_OUTSIDE

    def _line(self) -> None:
        if self._blank:
            self._open, self._unsure, self._awaits = [], False, ""
        self._before, self._blank = "", True

    def _mark(self, mark: str) -> None:
        before, self._before = self._before, ""
        counts = before != "\\" or self._unsure
        if mark == "]":
            closes = bool(self._open) and counts and not self._unsure
            self._before = "image]" if closes and self._open.pop() else "]"
        elif mark == "(" and (before == "image]" or (before == "]" and self._unsure)):
            self._awaits = IMAGE
        elif mark == ":" and before in ("]", "image]"):
            self._awaits = DEFINITION
        elif mark == "[" and (before == "!" or (self._open and counts)):
            self._unsure = self._unsure or len(self._open) == _MAX_OPEN
            if not self._unsure:
                self._open.append(before == "!")
        elif mark in "`<" and self._open and counts:
            self._unsure = True
        elif mark in "!\\" and counts:
            self._before = mark
