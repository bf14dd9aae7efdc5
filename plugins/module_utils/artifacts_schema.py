# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strict reading of mappings that a person wrote (catalogs, services)."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import AirlockError

_MAX_PATH = 1024
_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_SHA256 = r"[0-9a-f]{64}"


def fields(
    value: Any, where: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return ``value`` as a dict after checking that it is a mapping of exactly these keys.

    Raises AirlockError that names ``where``, the key, and for an unknown one the nearest valid one.
    """
    if not isinstance(value, Mapping):
        raise AirlockError.refuse(
            "this is not a mapping", expected=", ".join(required), found=repr(value), where=where
        )
    known = required + optional
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            raise AirlockError.refuse(
                f"the key '{key}' is unknown",
                expected=f"'{near[0]}'" if near else f"one of {', '.join(known)}",
                where=where,
            )
    for key in required:
        if key not in value or value[key] is None:
            raise AirlockError.refuse(f"the key '{key}' is missing", where=where, fix="add it")
    return {str(key): item for key, item in value.items() if item is not None}


def text(value: Any, where: str, pattern: str, example: str) -> str:
    """Return ``value`` when it is text that ``pattern`` matches whole. Raises AirlockError."""
    return _matching(value, where, pattern, "the value does not fit", f"something like {example}")


def integer(value: Any, where: str, low: int, high: int) -> int:
    """Return ``value`` when it is an integer in the closed range. Raises AirlockError."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise AirlockError.refuse(
            "the number does not fit", expected=f"{low} to {high}", found=repr(value), where=where
        )
    return int(value)


def choice(value: Any, where: str, choices: tuple[str, ...]) -> str:
    """Return ``value`` when it is one of ``choices``. Raises AirlockError."""
    if value not in choices:
        raise AirlockError.refuse(
            "the value is unknown", expected=" or ".join(choices), found=repr(value), where=where
        )
    return str(value)


def sha256(value: Any, where: str) -> str:
    """Return ``value`` when it is a SHA-256 in 64 lower-case hex digits. Raises AirlockError."""
    return _matching(value, where, _SHA256, "this is not a SHA-256", "64 lower-case hex digits")


def name(value: Any, where: str) -> str:
    """Return ``value`` when it may name a model or a service. Raises AirlockError."""
    return _matching(
        value,
        where,
        _NAME,
        "the name does not fit",
        "1 to 63 of a-z, 0-9, '.', '_', '-', starting and ending with a letter or digit",
    )


def relative_path(value: Any, where: str) -> str:
    """Return ``value`` when it is a plain relative path: no root, '..', empty part, control character,
    no name that another file system would spell in another way (Unicode NFC, UAX #15) or cannot hold.

    Raises AirlockError.
    """
    parts = value.split("/") if isinstance(value, str) and len(value) <= _MAX_PATH else [""]
    if (
        any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts)
        or any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in value)
        or unicodedata.normalize("NFC", value) != value
    ):
        raise AirlockError.refuse(
            "the path does not fit",
            expected=f"a relative path without '..', of at most {_MAX_PATH} characters",
            found=repr(value)[:200],
            where=where,
        )
    return str(value)


def distinct(paths: Iterable[str], where: str) -> None:
    """Refuse paths of which two cannot lie side by side on every file system. Raises AirlockError.

    That is: the same but for case, or a file where another one needs a folder.
    """
    seen: dict[str, str] = {}
    for path in sorted(paths, key=str.casefold):
        folded = unicodedata.normalize("NFC", path.casefold())
        parents = folded.split("/")
        above = ["/".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
        other = next((seen[name] for name in above if name in seen), None)
        if other is not None:
            raise AirlockError.refuse(
                "the path appears twice, or is a file and a folder",
                found=path if path == other else f"{path} beside {other}",
                where=where,
            )
        seen[folded] = path


def _matching(value: Any, where: str, pattern: str, what: str, expected: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise AirlockError.refuse(what, expected=expected, found=repr(value), where=where)
    return str(value)
