# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole corpus: ``bad()`` must be refused, ``good()`` accepted."""

from __future__ import annotations

from . import gguf_cases, other_cases, safetensors_cases
from .case import Case


def bad() -> list[Case]:
    """Return every case that must be refused."""
    return [*gguf_cases.bad(), *safetensors_cases.bad(), *other_cases.pickles(), *other_cases.bad()]


def good() -> list[Case]:
    """Return every case that must be accepted."""
    return [*gguf_cases.good(), *safetensors_cases.good(), *other_cases.good()]
