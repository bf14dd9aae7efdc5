# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical JSON: one value has one byte string, so that it can be hashed and signed.

The form is the part of RFC 8785 (JSON Canonicalization Scheme) that needs no number
formatting: sorted keys, no white space, UTF-8, integers only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from .errors import AirlockError

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def dumps(value: Any) -> bytes:
    """Return the canonical bytes of ``value`` (dict, list, str, int, bool, None).

    Raises AirlockError for floats, for keys that are not strings, for other types and for text that
    UTF-8 cannot hold.
    """
    _check(value, "$", 0)
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError as exc:  # half of a surrogate pair
        raise AirlockError.refuse(
            "a text is not Unicode", found=repr(exc.object[exc.start])
        ) from exc


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical bytes of ``value``, 64 hex digits."""
    return hashlib.sha256(dumps(value)).hexdigest()


def loads(data: bytes, *, where: str = "JSON", max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON strictly: bounded size and depth, no duplicate keys, no floats.

    ``where`` names the source in a refusal. Raises AirlockError.
    """
    return parse(data, where=where, max_bytes=max_bytes, parse_float=_refuse_float)


def parse(
    data: bytes,
    *,
    where: str,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_values: int | None = None,
    parse_float: Callable[[str], Any] = float,
) -> Any:
    """Parse hostile JSON within limits; ``parse_float`` decides what a float becomes.

    ``max_values`` bounds memory before any is taken: a byte or two can become an object of hundreds.
    Raises AirlockError for anything that is too large, too deep, ambiguous or not JSON.
    """
    if len(data) > max_bytes:
        raise AirlockError.refuse(
            "the document is too large",
            expected=f"at most {max_bytes} bytes",
            found=f"{len(data)} bytes",
            where=where,
        )
    if max_values is not None and _has_more_values(data, max_values):
        raise AirlockError.refuse(
            "the document has too many values", expected=f"at most {max_values}", where=where
        )
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_pairs,
            parse_constant=_refuse_constant,
            parse_float=parse_float,
        )
    except AirlockError as exc:
        raise AirlockError(f"{where}: {exc}") from exc
    except (UnicodeDecodeError, ValueError, RecursionError) as exc:
        reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise AirlockError.refuse(f"this is not valid JSON ({reason})", where=where) from exc
    _check_depth(value, where, max_depth)
    return value


def _has_more_values(data: bytes, limit: int) -> bool:
    """Tell whether more than ``limit`` members and brackets open in ``data``, its texts left out."""
    if len(data) <= limit or _opening(data) <= limit:
        return False
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Of a document that is one, every text is a value or the name of one.
    return bare.count(b'"') > 2 * (limit + 1) or _opening(b"".join(bare.split(b'"')[::2])) > limit


def _opening(data: bytes) -> int:
    return len(data) - len(data.translate(None, b"{[,:"))


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise AirlockError(f"the key {_twice(pairs)!r} appears twice in one object.")
    return result


def _twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _value in pairs:
        if key in seen:
            break
        seen.add(key)
    return key


def _refuse_float(text: str) -> Any:
    raise AirlockError(f"the number {text} is not an integer.")


def _refuse_constant(text: str) -> Any:
    raise AirlockError(f"{text} is not JSON.")


def _check_depth(value: Any, where: str, limit: int) -> None:
    level = [value]
    for _depth in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise AirlockError.refuse(
        "the document is nested too deeply", expected=f"at most {limit} levels", where=where
    )


def _check(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise AirlockError.refuse("the value is nested too deeply for canonical JSON", where=path)
    if value is None or isinstance(value, (str, bool, int)):
        return
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise AirlockError.refuse(
                    "canonical JSON has text keys only", found=repr(key), where=path
                )
            _check(child, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            _check(child, f"{path}[{index}]", depth + 1)
    else:
        raise AirlockError.refuse(
            "canonical JSON cannot hold this type", found=type(value).__name__, where=path
        )
