# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GGUF knows: kinds of values, types of tensors, and the kinds that well-known keys must have.

Sources: ggml docs/gguf.md; ggml.h and ggml-quants for the sizes; llama.cpp's loader for what it reads
without asking for the kind first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

STRING, ARRAY, BOOL = 8, 9, 7

KINDS: Mapping[int, tuple[str, str]] = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    BOOL: ("bool", "B"),
    STRING: ("string", ""),
    ARRAY: ("array", ""),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}
"""Name and struct(3) code of each kind of value."""

TENSORS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Name, elements a block and bytes a block of each tensor type; those that were withdrawn are missing."""

VOCABULARY = "tokenizer.ggml.tokens"
TYPES = "tokenizer.ggml.token_type"
SCORES = "tokenizer.ggml.scores"
CHAT_TEMPLATE = "tokenizer.chat_template"
BYTE_TOKEN = 6
"""The token type of ``<0xNN>``."""

# Key, what it must be. Runtimes cast these without a look at the kind (llama.cpp#26690).
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"general\.(architecture|type|name)", ("string",)),
    (r"general\.(alignment|file_type|quantization_version)", ("uint32",)),
    (r"split\.(no|count)", ("uint16",)),
    (r"split\.tensors\.count", ("int32", "uint32")),
    (r"tokenizer\.ggml\.(model|pre)", ("string",)),
    (r"tokenizer\.ggml\.(tokens|merges)", ("array of string",)),
    (r"tokenizer\.ggml\.scores", ("array of float32",)),
    (r"tokenizer\.ggml\.(token_type|suppress_tokens)", ("array of int32",)),
    (r"tokenizer\.ggml\.precompiled_charsmap", ("array of uint8", "array of int8")),
    (r"tokenizer\.ggml\.\w+_token_id", ("uint32",)),
    (r"tokenizer\.ggml\.(add_\w+|remove_extra_whitespaces)", ("bool",)),
    (r"tokenizer\.chat_template(\..+)?", ("string",)),
    (r"tokenizer\.chat_templates", ("array of string",)),
    (r".+\.(block_count|context_length|embedding_length|patch_size)", ("uint32", "uint64")),
)
_RULE = re.compile("|".join(f"(?P<r{index}>{key})" for index, (key, _kinds) in enumerate(_RULES)))

# Key, lowest and highest value: loops and divisors of a loader that has arrays of fixed length.
_RANGES: tuple[tuple[str, int, int], ...] = (
    (r".+\.block_count", 1, 512),
    (r".+\.patch_size", 1, 1 << 16),
)


def wanted_kinds(key: str) -> tuple[str, ...]:
    """Return the kinds that the value of ``key`` may have, () when any will do."""
    found = _RULE.fullmatch(key)
    return _RULES[int(str(found.lastgroup)[1:])][1] if found and found.lastgroup else ()


def wanted_range(key: str) -> tuple[int, int] | None:
    """Return the lowest and the highest value of the number under ``key``, None when any will do."""
    for pattern, low, high in _RANGES:
        if re.fullmatch(pattern, key):
            return low, high
    return None
