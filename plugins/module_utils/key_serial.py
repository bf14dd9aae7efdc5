# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of the last change of API keys: ``serial`` beside their records."""

from __future__ import annotations

import os

from .errors import AirlockError
from .files import read_limited, write_atomic

FILE_MODE = 0o600
_MAX_BYTES = 64
# No backup is that many changes behind; a host that was taken over may say any number.
_MOST_BEHIND = 2**20


class Serial:
    """How often the records have changed, at most once in a run.

    It is written before they are: where a run stops in between, the number is too high for them and never too low.
    """

    def __init__(self, directory: str, least: int, *, check: bool):
        """``least`` is the highest number that a host claims. Raises AirlockError and OSError."""
        self._path = os.path.join(directory, "serial")
        self._check = check
        own = self._read()
        self._last = max(own, min(least, own + _MOST_BEHIND))
        self.number = self._last

    def _read(self) -> int:
        try:
            text = read_limited(self._path, _MAX_BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return 0
        if not text.isascii() or not text.isdigit():
            raise AirlockError.refuse(
                "this is no number",
                found=repr(text[:20]),
                where=self._path,
                fix="restore it, or write one that is higher than that of every host",
            )
        return int(text)

    def advance(self) -> None:
        """Count the change that follows."""
        if self.number == self._last:
            self.number += 1
            if not self._check:
                write_atomic(self._path, f"{self.number}\n".encode(), mode=FILE_MODE)
