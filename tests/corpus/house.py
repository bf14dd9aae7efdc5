# SPDX-License-Identifier: GPL-3.0-or-later
"""Two models of several files for the lab: a GGUF cut into parts, and shards of safetensors.

``python3 -m corpus.house GGUF DIRECTORY`` (in tests/) puts their files into DIRECTORY by digest, and prints the
entries of models.yml that ask for them there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from . import split
from .hub import sha256
from .safetensors_cases import INDEX, safetensors

PARTED, SHARDED = "smollm2-in-parts", "tiny-in-shards"
_HIDDEN, _INNER, _LAYERS, _TOKENS = 64, 192, 4, 2048
_WIDTH = 2  # bytes of BF16


def shards() -> dict[str, bytes]:
    """Return a model of the Llama family as its publisher's tools would save it in two shards, weights all zero."""
    square, wide, tall = [_HIDDEN, _HIDDEN], [_INNER, _HIDDEN], [_HIDDEN, _INNER]
    layer = {
        "input_layernorm": [_HIDDEN],
        "mlp.down_proj": tall,
        "mlp.gate_proj": wide,
        "mlp.up_proj": wide,
        "post_attention_layernorm": [_HIDDEN],
        **{f"self_attn.{name}_proj": square for name in "koqv"},
    }
    first = {"model.embed_tokens.weight": [_TOKENS, _HIDDEN]}
    second = {"model.norm.weight": [_HIDDEN]}
    for number in range(_LAYERS):
        part = first if number < _LAYERS // 2 else second
        part.update({f"model.layers.{number}.{name}.weight": layer[name] for name in layer})
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    files = dict(zip(names, map(_shard, (first, second)), strict=True))
    places = dict.fromkeys(first, names[0]) | dict.fromkeys(second, names[1])
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": _LAYERS,
        "torch_dtype": "bfloat16",
        "vocab_size": _TOKENS,
    }
    documents = {
        "config.json": config,
        "tokenizer_config.json": {"chat_template": "{{ messages }}"},
        INDEX: {"metadata": {"total_size": sum(map(len, files.values()))}, "weight_map": places},
    }
    return {
        **{name: json.dumps(value, indent=2).encode() for name, value in documents.items()},
        "README.md": b"Weights without a meaning.\n",
        **files,
    }


def _shard(shapes: dict[str, list[int]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in sorted(shapes.items()):
        start, size = end, _WIDTH
        for extent in shape:
            size *= extent
        end += size
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    return safetensors(header, bytes(end))


def _entry(directory: Path, files: dict[str, bytes], licence: str) -> dict[str, Any]:
    for data in files.values():
        (directory / f"sha256-{sha256(data)}").write_bytes(data)
    digests = {name: sha256(data) for name, data in files.items()}
    return {
        "source": {"type": "vault", "directory": str(directory), "files": digests},
        "revision": "1",
        "licence": licence,
        "why": "the tests",
    }


def main() -> None:
    source, directory = map(Path, sys.argv[1:])
    directory.mkdir(exist_ok=True)
    parts = {"README.md": b"Cut by the tests.\n"} | split.parts(source.read_bytes(), "q/smollm2")
    entries = {
        PARTED: _entry(directory, parts, "Apache-2.0"),
        SHARDED: _entry(directory, shards(), "MIT"),
    }
    print(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()
