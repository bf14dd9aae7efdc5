# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a model may or may not be made of, each with what has to be said about it.

Made here, byte by byte, so that nothing in the tree is itself dangerous and no library decides what is
possible. Nothing is ever loaded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One file: what the model calls it, and words of the refusal that it must meet ('' for a good one).

    ``kind`` is the part of the corpus: gguf, safetensors, pickle, other, side. ``lesson`` names what it
    is taken from, where that is public.
    """

    kind: str
    id: str
    name: str
    data: bytes
    refusal: str = ""
    lesson: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.id}"
