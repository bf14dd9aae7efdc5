# SPDX-License-Identifier: GPL-3.0-or-later
"""The input screen in use: a long prompt, or many at once, hold up nobody else's answer."""

from __future__ import annotations

import asyncio

from airlock import screen


class Looking:
    """Judges texts by ``tables``, one window of one text at a time."""

    def __init__(self, tables: screen.Screen):
        self._tables = tables
        self._turn = asyncio.Lock()

    async def judge(self, text: str, channel: str) -> screen.Verdict:
        """Judge a whole text; the rest of the loop has its turn between two windows."""
        looks = []
        for look in self._tables.looks(text):
            if look is None:
                # To let others go first is not enough: of many texts each would then have a window looked at.
                async with self._turn:
                    await asyncio.sleep(0)
            else:
                looks.append(look)
        return self._tables.sum_up(looks, channel)
