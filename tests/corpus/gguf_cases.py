# SPDX-License-Identifier: GPL-3.0-or-later
"""GGUF files: a small good one, and what can be done to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import pack

from .case import Case

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B"} | {
    U64: "Q",
    I64: "q",
    F64: "d",
}
HUGE = 2**63


def string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, payload: bytes) -> bytes:
    return string(key) + pack("<I", kind) + payload


def scalar(key: str, kind: int, value: float | str | bytes) -> bytes:
    if isinstance(value, (str, bytes)):
        return entry(key, kind, string(value))
    return entry(key, kind, pack("<" + _CODES[kind], value))


def array(key: str, kind: int, values: Sequence[float | str | bytes], count: int = -1) -> bytes:
    payload = b"".join(
        string(value) if isinstance(value, (str, bytes)) else pack("<" + _CODES[kind], value)
        for value in values
    )
    length = len(values) if count < 0 else count
    return entry(key, ARRAY, pack("<IQ", kind, length) + payload)


def tensor(
    name: str | bytes, shape: Sequence[int], kind: int, offset: int, dimensions: int = -1
) -> bytes:
    count = len(shape) if dimensions < 0 else dimensions
    return string(name) + pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


ARCHITECTURE = scalar("general.architecture", STRING, "llama")
BLOCKS = scalar("llama.block_count", U32, 1)
TOKENS = array("tokenizer.ggml.tokens", STRING, ["<unk>", "<0x0A>", "a", "b"])
TYPES = array("tokenizer.ggml.token_type", I32, [2, 6, 1, 1])
SCORES = array("tokenizer.ggml.scores", F32, [0.0, 0.0, -1.0, -2.0])
TEMPLATE = scalar("tokenizer.chat_template", STRING, "{{ messages }}")
KEYS = (ARCHITECTURE, BLOCKS, TOKENS, TYPES, SCORES, TEMPLATE)
TENSORS = (tensor("token_embd.weight", (32, 4), 0, 0), tensor("output_norm.weight", (5,), 0, 512))
DATA = bytes(512 + 32)


def gguf(
    keys: Sequence[bytes] = KEYS,
    tensors: Sequence[bytes] = TENSORS,
    data: bytes = DATA,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int = -1,
    key_count: int = -1,
    alignment: int = 32,
    padding: bytes = b"\0",
) -> bytes:
    """Return a file of these parts; counts of -1 are the true ones."""
    head = magic + pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count < 0 else tensor_count,
        len(keys) if key_count < 0 else key_count,
    )
    head += b"".join(keys) + b"".join(tensors)
    return head + padding * (-len(head) % alignment) + data


def _with(*keys: bytes) -> bytes:
    return gguf((ARCHITECTURE, *keys))


def _one(shape: Sequence[int], kind: int = 0, offset: int = 0, **more: int) -> bytes:
    return gguf(tensors=(tensor("a.weight", shape, kind, offset, **more),))


def _start() -> Iterable[tuple[str, bytes, str, str]]:
    whole = gguf()
    yield "magic in lower case", gguf(magic=b"gguf"), "not what the name says", "ollama fs/gguf"
    yield "another magic", gguf(magic=b"GGUX"), "not what the name says", "ollama fs/gguf"
    for version in (0, 1, 4, 2**32 - 1):
        yield f"version {version}", gguf(version=version), "the version is not accepted", ""
    yield "big-endian", gguf(version=3 << 24), "big-endian", ""
    for count in (HUGE, 2**64 - 1, 70_000):
        yield (
            f"{count} tensors",
            gguf(tensor_count=count),
            "beyond any real model",
            "CVE-2024-21836",
        )
        yield f"{count} keys", gguf(key_count=count), "beyond any real model", "CVE-2024-23605"
    yield "one key too many", gguf(key_count=len(KEYS) + 1), "byte", ""
    yield "one key too few", gguf(key_count=len(KEYS) - 1), "byte", ""
    yield "one tensor too many", gguf(tensor_count=3), "byte", ""
    yield "one tensor too few", gguf(tensor_count=1), "does not fill the file", ""
    yield "four bytes", whole[:4], "ends before the header", "CVE-2024-39720"
    yield "cut in the counts", whole[:20], "ends before the header", ""
    yield "cut in a key", whole[:40], "ends before the header", ""
    yield "cut in the tensors", whole[: -len(DATA) - 40], "byte", ""
    yield "cut by one byte", whole[:-13], "does not fill the file", ""
    yield "cut in half", whole[: len(whole) // 2], "byte", ""
    yield "a byte more", whole + b"\0", "does not fill the file", ""
    yield "an archive behind it", whole + b"PK\x03\x04" + bytes(60), "does not fill the file", ""
    yield "a pickle behind it", whole + b"cos\nsystem\n(S'id'\ntR.", "does not fill the file", ""
    yield "padding that is not zero", gguf(padding=b"x"), "padding", ""


def _keys() -> Iterable[tuple[str, bytes, str, str]]:
    sd = "stable-diffusion.cpp#1397"
    yield "key of 2^63 bytes", _with(pack("<Q", HUGE)), "string is too long", sd
    yield "key of -1 bytes", _with(pack("<Q", 2**64 - 1)), "string is too long", sd
    yield "empty key", _with(scalar("", U8, 1)), "not a name", ""
    yield "key with a NUL", _with(scalar("a\0b", U8, 1)), "not a name", ""
    yield "key with a blank", _with(scalar("a b", U8, 1)), "not a name", ""
    yield "key that is not ASCII", _with(scalar("schlüssel", U8, 1)), "not a name", ""
    yield "key of 2000 bytes", _with(scalar("k" * 2000, U8, 1)), "string is too long", ""
    yield "key twice", _with(BLOCKS, BLOCKS), "appears twice", ""
    yield "kind 13", _with(entry("x", 13, b"\0")), "kind of value is unknown", ""
    yield "kind -1", _with(entry("x", 2**32 - 1, b"\0")), "kind of value is unknown", ""
    yield (
        "text of 2^63 bytes",
        _with(entry("x", STRING, pack("<Q", HUGE))),
        "too long",
        "ollama#17042",
    )
    yield "text past the end", _with(entry("x", STRING, pack("<Q", 10**6))), "ends before", ""
    yield "text that is not UTF-8", _with(scalar("x", STRING, b"\xff\xfe")), "not UTF-8", ""
    yield "text with a NUL", _with(scalar("x", STRING, "a\0b")), "holds a NUL", ""
    yield "truth value 2", _with(scalar("x", BOOL, 2)), "neither", ""
    yield "truth values with a 2", _with(array("x", BOOL, [0, 1, 2])), "neither", ""
    yield "array of arrays", _with(array("x", ARRAY, [], 1)), "holds arrays", "ollama#17042"
    yield "array of kind 99", _with(array("x", 99, [])), "kind of value is unknown", ""
    big = "ollama#17042, CVE-2024-21802"
    yield "array of 2^63 bytes", _with(array("x", U8, [], HUGE)), "ends before", big
    yield "array whose size wraps", _with(array("x", U64, [], 2**61 + 1)), "ends before", big
    yield "array of 2^60 texts", _with(array("x", STRING, [], 2**60)), "more strings", big
    yield "array with one more", _with(array("x", F64, [1.0], 10**5)), "ends before", ""
    bad_element = array("x", STRING, ["a"], 2) + pack("<Q", 2**62) + bytes(64)
    yield "array with an endless text", _with(bad_element), "too long", "CVE-2024-23496"
    yield (
        "token of 70,000 bytes",
        _with(array("tokenizer.ggml.tokens", STRING, ["t" * 70_000])),
        ("too long"),
        "CVE-2025-49847",
    )
    yield "no architecture", gguf((BLOCKS,)), "architecture is missing", ""
    number = scalar("general.architecture", U32, 1)
    yield "architecture as number", gguf((number,)), "wrong kind", ""
    path = scalar("general.architecture", STRING, "../llama")
    yield "architecture as path", gguf((path,)), "not a name", ""


def _known() -> Iterable[tuple[str, bytes, str, str]]:
    cast = "llama.cpp#26690"
    name = "tokenizer.ggml."
    for key, kind in (
        ("scores", U8),
        ("token_type", U8),
        ("suppress_tokens", U8),
        ("scores", F64),
        ("merges", U32),
        ("precompiled_charsmap", U32),
    ):
        data = _with(TOKENS, array(name + key, kind, [1, 1, 1, 1]))
        yield f"{key} as array of kind {kind}", data, "wrong kind", cast
    yield "tokens as numbers", _with(array(name + "tokens", U32, [1, 2])), "wrong kind", cast
    yield "scores too few", _with(TOKENS, array(name + "scores", F32, [0.0])), "as long as", cast
    yield (
        "types too many",
        _with(TOKENS, array(name + "token_type", I32, [1] * 9)),
        "as long as",
        cast,
    )
    yield "types without tokens", _with(TYPES), "as long as", cast
    yield "end token as text", _with(scalar(name + "eos_token_id", STRING, "2")), "wrong kind", ""
    yield "number of the part as text", _with(scalar("split.no", STRING, "0")), "wrong kind", ""
    yield (
        "tensors of all parts as text",
        _with(scalar("split.tensors.count", STRING, "2")),
        ("wrong kind"),
        "",
    )
    yield "tokenizer as number", _with(scalar(name + "model", U32, 1)), "wrong kind", ""
    yield (
        "templates as text",
        _with(scalar("tokenizer.chat_templates", STRING, "a")),
        "wrong kind",
        "",
    )
    yield "switch as number", _with(scalar(name + "add_bos_token", U32, 1)), "wrong kind", ""
    for text in ("<0x-1>", "<0xGG>", "<0x100>", "0x0A", ""):
        tokens = array(name + "tokens", STRING, ["<unk>", text, "a", "b"])
        yield (
            f"byte token '{text}'",
            _with(tokens, TYPES),
            "does not name a byte",
            "llama.cpp#27226",
        )
    chat = "tokenizer.chat_template"
    yield "template as array", _with(array(chat, STRING, ["x"])), "wrong kind", ""
    yield "template with a NUL", _with(scalar(chat, STRING, "a\0{{ evil }}")), "holds a NUL", ""
    yield "template of 2 MiB", _with(scalar(chat, STRING, "x" * 2**21)), "too long", ""
    yield "hidden template", _with(scalar(chat + ".tool_use", U8, 1)), "wrong kind", ""
    for kind, count in ((U32, 0), (U32, 513), (U64, 2**40)):
        data = gguf((ARCHITECTURE, scalar("llama.block_count", kind, count)))
        yield f"{count} blocks", data, "beyond what runtimes can take", "llama.cpp#26051"
    yield "blocks as text", _with(scalar("llama.block_count", STRING, "1")), "wrong kind", ""
    zero = scalar("clip.vision.patch_size", U32, 0)
    yield "patches of no size", _with(zero), "beyond what runtimes can take", "a division by zero"
    wrap = "llama.cpp#26318, ggml#1516, GHSA-96jg-mvhq-q7q7"
    for value in (0, 1, 3, 48, 2**21, 2**30, 2**31):
        data = _with(scalar("general.alignment", U32, value))
        yield f"alignment {value}", data, "alignment does not fit", wrap
    yield "alignment as int32", _with(scalar("general.alignment", I32, 32)), "wrong kind", wrap


def _tensors() -> Iterable[tuple[str, bytes, str, str]]:
    def two(name: str | bytes, offset: int) -> bytes:
        return gguf(tensors=(TENSORS[0], tensor(name, (5,), 0, offset)))

    yield "name of 64 bytes", two("n" * 64, 512), "string is too long", "GGML_MAX_NAME"
    yield "empty name", two("", 512), "name is not text", ""
    yield "name with a NUL", two("a\0b", 512), "name is not text", ""
    yield "name that is not UTF-8", two(b"\xff", 512), "name is not text", ""
    yield "tensor twice", two("token_embd.weight", 512), "appears twice", ""
    yield "hole", two("x", 544), "does not follow", ""
    yield "overlap", two("x", 0), "does not follow", ""
    yield "not aligned", two("x", 513), "does not follow", ""
    yield "far offset", two("x", HUGE), "does not follow", "CVE-2024-21825"
    yield "wrapping offset", two("x", 2**64 - 32), "does not follow", "CVE-2024-21825"
    yield "5 dimensions", _one((1, 1, 1, 1, 1)), "too many dimensions", "CVE-2024-21802"
    yield (
        "2^32-1 dimensions",
        _one((1,), dimensions=2**32 - 1),
        "too many dimensions",
        "CVE-2024-21802",
    )
    yield "dimension 0", _one((0, 4)), "shape is impossible", "a division by zero"
    yield "dimension -1", _one((2**64 - 1,)), "shape is impossible", "CVE-2024-23605"
    yield "elements that wrap", _one((2**32, 2**32)), "shape is impossible", "CVE-2026-33298"
    yield (
        "elements that wrap to few",
        _one((2**32, 2**31, 2)),
        "shape is impossible",
        "CVE-2026-33298",
    )
    yield "bytes that wrap", _one((2**61,), 28), "larger than the file", "CVE-2025-53630"
    heap = "CVE-2026-7482, GHSA-x8qc-fggm-mpqg"
    yield "larger than the file", _one((10**6,)), "larger than the file", heap
    yield "larger by one row", gguf(data=bytes(512)), "does not fill the file", heap
    for kind in (4, 5, 31, 36, 99, 2**31, 2**32 - 1):
        yield f"type {kind}", _one((32,), kind), "type is unknown", ""
    yield "half a block", _one((33,), 2), "rows do not divide", ""
    yield "rows of half a block", _one((128, 2), 12), "rows do not divide", ""


def bad() -> list[Case]:
    """Return what must be refused."""
    return [
        Case("gguf", name, "model.gguf", data, words, lesson)
        for part in (_start(), _keys(), _known(), _tensors())
        for name, data, words, lesson in part
    ]


def _good() -> Iterable[tuple[str, bytes]]:
    yield "version 3", gguf()
    yield "version 2", gguf(version=2)
    yield "last tensor without padding", gguf(data=DATA[: 512 + 20])
    yield "no tensors", gguf(tensors=(), data=b"")
    yield "no tensors, no padding", gguf(tensors=(), data=b"", padding=b"")
    for size in (8, 64, 4096):
        keys = (*KEYS, scalar("general.alignment", U32, size))
        second = tensor("output_norm.weight", (5,), 0, -(-512 // size) * size)
        data = bytes(-(-512 // size) * size + 20)
        yield f"alignment {size}", gguf(keys, (TENSORS[0], second), data, alignment=size)
    scalars = [scalar(f"x.{kind}", kind, 1) for kind in _CODES]
    arrays = [array(f"y.{kind}", kind, [1, 0, 1]) for kind in _CODES]
    empty = [array(f"z.{kind}", kind, []) for kind in (*_CODES, STRING)]
    yield "every kind of value", _with(*scalars, *arrays, *empty)
    shapes = ((), (7,), (7, 1), (7, 1, 1, 1))
    tensors = [tensor(f"t{len(shape)}", shape, 24, 32 * at) for at, shape in enumerate(shapes)]
    yield "every number of dimensions", gguf(tensors=tensors, data=bytes(128))
    blocks = {0: 4, 2: 18, 3: 20, 8: 34, 12: 144, 14: 210, 30: 2, 39: 17}
    tensors, offset = [], 0
    for kind, size in blocks.items():
        elements = {0: 1, 30: 1, 12: 256, 14: 256}.get(kind, 32)
        tensors.append(tensor(f"q{kind}", (elements,), kind, offset))
        offset += -(-size // 32) * 32
    yield "types of tensors", gguf(tensors=tensors, data=bytes(offset))
    named = scalar("tokenizer.chat_template.tool_use", STRING, "{{ tools }}")
    yield "two templates", gguf((*KEYS, named))
    yield "names of any script", gguf((*KEYS, scalar("general.name", STRING, "小さなモデル")))
    part = [scalar("split.no", U16, 1), scalar("split.count", U16, 2)]
    yield "second part", gguf([*part, scalar("split.tensors.count", I32, 4)])
    vision = scalar("clip.vision.patch_size", U32, 14)
    yield "projector", gguf((scalar("general.architecture", STRING, "clip"), vision))


def good() -> list[Case]:
    """Return what must be accepted."""
    return [Case("gguf", name, "model.gguf", data) for name, data in _good()]
