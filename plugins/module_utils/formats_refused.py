# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is never a model, told by its content: so that the refusal can say what it is.

Nothing depends on this list being complete: what is no accepted format is refused with or without a name.
"""

from __future__ import annotations

import io
import pickletools
import re

_PICKLE = "a pickle, which runs code when it is loaded"
_ARCHIVE = "an archive"
_PROGRAM = "a program"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it"),
    (512, b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it"),
    (0, b"\x7fELF", _PROGRAM),
    (0, b"MZ", f"{_PROGRAM} (also llamafile)"),
    (0, b"#!", "a script"),
    (0, b"\xfe\xed\xfa", _PROGRAM),
    (0, b"\xce\xfa\xed\xfe", _PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", _PROGRAM),
    (0, b"\xca\xfe\xba\xbe", _PROGRAM),
    (0, b"\0asm", _PROGRAM),
    (0, b"\x1f\x8b", _ARCHIVE),
    (0, b"BZh", _ARCHIVE),
    (0, b"\xfd7zXZ\0", _ARCHIVE),
    (0, b"\x28\xb5\x2f\xfd", _ARCHIVE),
    (0, b"\x04\x22\x4d\x18", _ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (0, b"Rar!\x1a\x07", _ARCHIVE),
    (257, b"ustar", _ARCHIVE),
    (0, b"\x93NUMPY", "a NumPy array, which may hold a pickle"),
    (4, b"TFL3", "TensorFlow Lite"),
    (0, b"lmgg", "GGML before GGUF"),
    (0, b"fmgg", "GGML before GGUF"),
    (0, b"tjgg", "GGML before GGUF"),
    (0, b"algg", "GGML before GGUF"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_BYTECODE = re.compile(rb"..\r\n[\0-\x03]\0\0\0", re.DOTALL)
# Protocol Buffers: field 1 a small number, then a field that ONNX or SavedModel has.
_ONNX = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x3a\x42]")
_SAVED_MODEL = re.compile(rb"\x08\x01\x12.{0,12}\x0a", re.DOTALL)
_PICKLE_START = re.compile(rb"\x80[\x01-\x05]")
_IMPORT = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_CALLS = ("REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "INST")
_PICKLE_LIMIT = 64 * 1024
_BROKEN = (ValueError, LookupError, OverflowError, AssertionError, TypeError, AttributeError)
"""What pickletools raises for bytes that are no pickle."""


def name(start: bytes) -> str:
    """Return what a file that begins with ``start`` (64 KiB are enough) is, '' when it is not known."""
    for offset, signature, what in _SIGNATURES:
        if start.startswith(signature, offset):
            return what
    if start.startswith(_ZIP):
        if b"data.pkl" in start:
            return f"a PyTorch archive with {_PICKLE}"
        return "a zip archive, as PyTorch and Keras write it"
    if _PICKLE_START.match(start) or _is_text_pickle(start[:_PICKLE_LIMIT]):
        return _PICKLE
    if _BYTECODE.match(start):
        return "compiled Python"
    if _SAVED_MODEL.match(start) and b"serve" in start:
        return "a TensorFlow SavedModel"
    if _ONNX.match(start):
        outside = b"external_data" in start or b"location" in start
        return "ONNX with external data" if outside else "ONNX or a TensorFlow SavedModel"
    return ""


def _is_text_pickle(start: bytes) -> bool:
    """Say whether this is a pickle of protocol 0, which looks like text: complete, or one that calls
    something it imported before it breaks off. Nothing of it is run."""
    try:
        pickletools.dis(start, out=io.StringIO())
        return True
    except _BROKEN:
        pass
    imported = marked = False
    try:
        for opcode, argument, _position in pickletools.genops(start):
            marked = marked or opcode.name == "MARK"
            if opcode.name == "GLOBAL" or (opcode.name == "INST" and marked):
                imported = imported or bool(_IMPORT.fullmatch(str(argument)))
            if imported and opcode.name in _CALLS:
                return True
    except _BROKEN:
        pass
    return False
