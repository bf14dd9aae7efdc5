# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates as they come from outside: what `cryptography` cannot read is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..module_utils.errors import AirlockError


@contextlib.contextmanager
def reading(what: str, *, expected: str, where: str, fix: str = "") -> Iterator[None]:
    """Turn whatever reading ``what`` raises into a refusal. Raises AirlockError.

    The errors of `cryptography` have no base in common (ValueError, UnsupportedAlgorithm, InvalidVersion,
    DuplicateExtension and more), and parts of a certificate are read only when they are asked for: ask
    for all of them inside.
    """
    try:
        yield
    except Exception as exc:
        raise AirlockError.refuse(
            f"{what} cannot be read", expected=expected, where=where, fix=fix
        ) from exc
