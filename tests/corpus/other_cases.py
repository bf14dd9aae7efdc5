# SPDX-License-Identifier: GPL-3.0-or-later
"""What is neither GGUF nor safetensors: pickles under innocent names, other formats, side files."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterable

from . import gguf_cases, safetensors_cases
from .case import Case


class _Call:
    """Pickles to a call. Nothing here loads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("id",)


def _zip(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/").replace("_", ".")), data)
    return out.getvalue()


def _tar(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("data.pkl")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def pickles() -> list[Case]:
    """Return pickles, whole, broken and packed, under names that nobody suspects."""
    calls = {protocol: pickle.dumps(_Call(), protocol) for protocol in range(6)}
    binary, text = calls[4], calls[0]
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    innocent = {
        "model.gguf": "not what the name says",
        "model.safetensors": "not what the name says",
        "README.md": "no accepted format",
        "LICENSE": "no accepted format",
        "config.json": "no accepted format",
        "tokenizer.json": "no accepted format",
        "vocab.json": "no accepted format",
        "merges.txt": "no accepted format",
        "chat_template.jinja": "no accepted format",
        "sha256-" + "a" * 64: "no accepted format",
    }
    cases = [(f"{name}, protocol 4", name, binary, words) for name, words in innocent.items()]
    cases += [(f"{name}, protocol 0", name, text, words) for name, words in innocent.items()]
    cases += [(f"protocol {number}", "weights", data, "pickle") for number, data in calls.items()]
    cases += [
        ("breaks off after the call", "README.md", text[:-1] + b"\xff\xff", "pickle"),
        ("says INST", "README.md", b"(S'id'\nios\nsystem\n.", "pickle"),
        ("goes on after the call", "LICENSE", text[:-1] + b"0N.", "pickle"),
        ("harmless list", "merges.txt", pickle.dumps(["a", "b"], 0), "pickle"),
        ("torch, old form", "model.safetensors", magic + binary, "pickle"),
        ("torch, zip", "model.safetensors", _zip(a__data_pkl=binary, a__version=b"3"), "PyTorch"),
        ("torch, zip as digest", "sha256-" + "b" * 64, _zip(a__data_pkl=binary), "PyTorch"),
        (
            "numpy object",
            "vocab.json",
            b"\x93NUMPY\x01\0" + b"v\0{'descr': '|O'}" + binary,
            "NumPy",
        ),
        ("gzip", "tokenizer.json", gzip.compress(binary), "an archive"),
        ("tar", "model.gguf", _tar(binary), "an archive"),
        ("zlib, as joblib", "weights", zlib.compress(binary), "something unknown"),
        ("as PyTorch calls it", "pytorch_model.bin", binary, "as code"),
        ("as scikit-learn calls it", "model.joblib", binary, "as code"),
    ]
    return [Case("pickle", *case) for case in cases]


def _bad() -> Iterable[tuple[str, str, bytes, str]]:
    gguf, tensors = gguf_cases.gguf(), safetensors_cases.safetensors({})
    hdf5 = b"\x89HDF\r\n\x1a\n" + bytes(600)
    yield "program", "model", b"\x7fELF\x02\x01\x01" + bytes(64), "a program"
    yield "llamafile", "model.gguf", b"MZqFpD='\n" + bytes(64), "llamafile"
    yield "program of macOS", "model", b"\xcf\xfa\xed\xfe" + bytes(64), "a program"
    yield "WebAssembly", "model", b"\0asm\x01\0\0\0", "a program"
    yield "script", "README.md", b"#!/bin/sh\nid\n", "a script"
    yield "Python", "modeling_x.py", b"import os\n", "as code"
    yield "Python that is GGUF", "model.py", gguf, "as code"
    yield (
        "compiled Python",
        "model",
        b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(20),
        "compiled Python",
    )
    yield "HDF5", "model", hdf5, "HDF5"
    yield "HDF5 behind a block", "model", bytes(512) + hdf5, "HDF5"
    yield "Keras", "model", _zip(config_json=b"{}", model_weights_h5=hdf5), "a zip archive"
    yield "SavedModel", "model", b"\x08\x01\x12\x0a\x0a\x08\x12\x05serve" + bytes(40), "SavedModel"
    onnx = b"\x08\x08\x12\x07pytorch:\x20" + bytes(20)
    yield "ONNX", "model", onnx, "ONNX"
    yield (
        "ONNX with external data",
        "model",
        onnx + b"location\x12\x0e../../etc/passwd",
        "external data",
    )
    yield "TensorFlow Lite", "model", b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"
    yield "GGML", "model", b"tjgg\x03\0\0\0" + bytes(40), "GGML"
    archives = (
        "1f8b",
        "425a68",
        "fd377a585a00",
        "28b52ffd",
        "04224d18",
        "377abcaf271c",
        "526172211a07",
    )
    for magic in archives:
        yield f"archive {magic}", "model", bytes.fromhex(magic) + bytes(40), "an archive"
    for magic in ("feedface", "cefaedfe", "cafebabe"):
        yield f"program {magic}", "model", bytes.fromhex(magic) + bytes(40), "a program"
    for magic in (b"lmgg", b"fmgg", b"algg"):
        yield f"GGML {magic!r}", "model", magic + bytes(40), "GGML"
    yield "zip", "model", _zip(a_txt=b"a"), "a zip archive"
    yield "empty", "README.md", b"", "size does not fit"
    yield "zeros", "model", bytes(4096), "something unknown"
    yield "unknown name", "notes.json", b"{}", "no accepted format"
    yield "GGUF as safetensors", "model.safetensors", gguf, "name is not what the content is"
    yield "safetensors as GGUF", "model.gguf", tensors[:8] + b"{}", "not what the name says"
    yield "GGUF as JSON", "config.json", gguf, "name is not what the content is"
    yield "GGUF as PyTorch", "pytorch_model.bin", gguf, "as code"


def _bad_side_files() -> Iterable[tuple[str, str, bytes, str]]:
    code = {"auto_map": {"AutoModel": "modeling_x.Model"}}
    yield "auto_map", "config.json", json.dumps(code).encode(), "auto_map"
    yield "auto_map within", "config.json", json.dumps({"a": [{"b": code}]}).encode(), "auto_map"
    yield (
        "auto_map of the tokenizer",
        "tokenizer_config.json",
        json.dumps(code).encode(),
        "auto_map",
    )
    pipeline = b'{"custom_pipelines": {"x": {"impl": "x.X"}}}'
    yield "pipeline with code", "config.json", pipeline, "custom_pipelines"
    yield "key twice", "config.json", b'{"a": 1, "a": 2}', "appears twice"
    yield "too deep", "config.json", b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", "too deeply"
    yield "deeper than the stack", "config.json", b"[" * 10**5, "too deeply"
    yield "cut", "config.json", b'{"a": 1', "not valid JSON"
    yield "a list", "config.json", b"[]", "no object"
    yield "not UTF-8", "vocab.json", b'{"\xff": 1}', "not valid JSON"
    yield "a number of 5000 digits", "vocab.json", b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"
    yield "too many values", "config.json", b"[" + b"[]," * 10**6 + b"[]]", "unfolds to too much"
    yield "template as number", "tokenizer_config.json", b'{"chat_template": 1}', "no text"
    two = b'{"chat_template": [{"name": "a"}, {"name": "a"}]}'
    yield "templates of one name", "tokenizer_config.json", two, "names of their own"
    yield "text with a NUL", "LICENSE", b"free\0", "control character"
    yield "text that is not UTF-8", "merges.txt", b"a \xff\n", "not UTF-8"
    yield "template of 2 MiB", "chat_template.jinja", b"x" * 2**21, "size does not fit"


def bad() -> list[Case]:
    """Return everything else that must be refused."""
    return [Case("other", *case) for case in (*_bad(), *_bad_side_files())]


def good() -> list[Case]:
    """Return side files that must be accepted."""
    templates = [{"name": "default", "template": "{{ m }}"}, {"name": "rag", "template": "r"}]
    files = {
        "config.json": b'{"model_type": "llama", "rope_theta": 1e4}',
        "generation_config.json": b"{}",
        "tokenizer_config.json": json.dumps({"chat_template": templates}).encode(),
        "special_tokens_map.json": b'{"eos_token": "</s>"}',
        "tokenizer.json": b'{"model": {"vocab": {"auto_map": 1}}}',
        "vocab.json": '{"auto_map": 0, "Ġthe": 1}'.encode(),
        "merges.txt": b"#version: 0.2\na b\n",
        "vocab.txt": b"[PAD]\n[UNK]\n",
        "chat_template.jinja": b"{% for m in messages %}{{ m }}{% endfor %}",
        "LICENSE": b"config\nurations\n(see below): R. and so on.\n",
        "LICENSE.txt": b"MIT License\n",
        "README.md": b"e.g. a model\n",
        "README": b".. image:: x\n",
        "NOTICE": b"import\nthis\n(R)\n",
    }
    return [Case("side", name, name, data) for name, data in files.items()]
