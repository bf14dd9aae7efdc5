# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts a GGUF into parts as publishers do (llama.cpp, tools/gguf-split with --no-tensor-first-split).

The first part holds the keys and no tensor, the others hold the tensors and no key but three: ``split.no``,
``split.count`` and ``split.tensors.count``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from struct import Struct, calcsize, pack, unpack_from

from .gguf_cases import _CODES, ARRAY, I32, STRING, U16, gguf, scalar

_ALIGNMENT = 32


@dataclass(frozen=True)
class _Tensor:
    """One entry of the header; its data begin at ``start`` and end, padded, at ``end``."""

    name: bytes
    shape: tuple[int, ...]
    kind: int
    start: int
    end: int = 0

    def entry(self, origin: int) -> bytes:
        shape = pack(f"<I{len(self.shape)}Q", len(self.shape), *self.shape)
        head = pack("<Q", len(self.name)) + self.name + shape
        return head + pack("<IQ", self.kind, self.start - origin)


class _Header:
    """Walks through the header of a good GGUF."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[int, ...]:
        found = unpack_from(f"<{layout}", self.data, self.at)
        self.at += calcsize(f"<{layout}")
        return found

    def text(self) -> bytes:
        (length,) = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def value(self, kind: int) -> None:
        if kind == ARRAY:
            of, count = self.take("IQ")
            for _element in range(count if of == STRING else 0):
                self.text()
            self.at += 0 if of == STRING else count * Struct("<" + _CODES[of]).size
        elif kind == STRING:
            self.text()
        else:
            self.take(_CODES[kind])

    def key(self) -> bytes:
        start = self.at
        self.text()
        self.value(*self.take("I"))
        return self.data[start : self.at]

    def tensor(self) -> _Tensor:
        name = self.text()
        (dimensions,) = self.take("I")
        shape = self.take(f"{dimensions}Q")
        kind, start = self.take("IQ")
        return _Tensor(name, shape, kind, start)


def parts(data: bytes, name: str, count: int = 3) -> dict[str, bytes]:
    """Return the ``count`` parts (2 or more) of the GGUF ``data`` by the names that belong to them."""
    header = _Header(data)
    _magic, _version, tensor_count, key_count = header.take("IIQQ")
    keys = [header.key() for _key in range(key_count)]
    tensors = [header.tensor() for _tensor in range(tensor_count)]
    body = data[-(-header.at // _ALIGNMENT) * _ALIGNMENT :]
    ends = [tensor.start for tensor in tensors[1:]] + [len(body)]
    tensors = [replace(tensor, end=end) for tensor, end in zip(tensors, ends, strict=True)]
    share = -(-len(tensors) // (count - 1))
    groups = [[], *(tensors[at : at + share] for at in range(0, len(tensors), share))]
    return {
        f"{name}-{number + 1:05d}-of-{count:05d}.gguf": gguf(
            [
                *(() if number else keys),
                scalar("split.no", U16, number),
                scalar("split.count", U16, count),
                scalar("split.tensors.count", I32, tensor_count),
            ],
            [tensor.entry(group[0].start) for tensor in group],
            body[group[0].start : group[-1].end] if group else b"",
        )
        for number, group in enumerate(groups)
    }
