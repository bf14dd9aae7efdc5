# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files may be part of a model: told by their content, held against their name.

Accepted are GGUF, safetensors with its index, and a short list of side files that no runtime executes.
Everything else is refused, whatever it is called.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from . import canonical, formats_refused, gguf, safetensors
from .errors import AirlockError
from .files import sha256_bytes
from .formats_checked import Checked, hold, parse, refuse, template_digest
from .gguf_keys import MAX_TEMPLATE

MAX_JSON = 4 * 1024**2
MAX_VOCABULARY = 64 * 1024**2
MAX_TEXT = 16 * 1024**2
_START = 64 * 1024
PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
"""The name of a GGUF file in parts: what they have in common, the number from 1, how many there are."""
_MAX_ATOMS = {MAX_JSON: 1_000_000, MAX_VOCABULARY: 4_000_000, safetensors.MAX_HEADER: 2_000_000}

_INDEX = ".safetensors.index.json"
_VOCABULARIES = ("tokenizer.json", "vocab.json")
_CONFIGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
)
_JSON = (*_VOCABULARIES, *_CONFIGS, "special_tokens_map.json", "added_tokens.json")
_TEXT = re.compile(
    r"merges\.txt|vocab\.txt|(?:LICEN[CS]E|README|NOTICE|COPYING)[\w.-]*?(?:\.md|\.txt)?",
    re.IGNORECASE,
)
# A runtime picks its loader by these endings, and the loader runs what it finds.
_LOADED_AS_CODE = re.compile(
    r".*\.(?:py|pyc|so|dll|bin|pt|pth|ckpt|pkl|pickle|joblib|npy|npz|h5|hdf5|keras|pb|onnx|tflite|zip|tar|gz)",
    re.IGNORECASE,
)
_REMOTE_CODE = ("auto_map", "custom_pipelines")
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")


def check(path: str, name: str = "", where: str = "") -> Checked:
    """Check the file at ``path`` that the model calls ``name`` (default: its own name).

    Messages call it ``where`` (default: its path). A link is not followed; the tensor data is not
    looked at. Raises AirlockError, OSError.
    """
    name = os.path.basename(name or path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            raise refuse("this is not a regular file", where or path)
        where = where or (path if name == os.path.basename(path) else f"{path} ({name})")
        return _check(descriptor, now.st_size, name, where)
    finally:
        os.close(descriptor)


def approve(path: str, name: str, wanted: Mapping[str, Any] | None, where: str) -> Checked:
    """Check the file as ``check`` does and hold it against what the catalog says of it, if anything.

    Raises AirlockError, OSError.
    """
    approved = parse(wanted, where) if wanted else None
    found = check(path, name, where)
    if approved:
        hold(found, approved, where)
    return found


def _check(descriptor: int, size: int, name: str, where: str) -> Checked:
    start = os.pread(descriptor, _START, 0)
    if _LOADED_AS_CODE.fullmatch(name):
        raise refuse(
            "runtimes load a file of this name as code", where, "GGUF or safetensors", _what(start)
        )
    if start.startswith(gguf.MAGIC) or name.endswith(".gguf"):
        _is_named(name, ".gguf", "GGUF", where)
        _is(start.startswith(gguf.MAGIC), "GGUF", start, where)
        return gguf.check(descriptor, size, where)
    if safetensors.looks_like(start, size) or name.endswith(".safetensors"):
        _is_named(name, ".safetensors", "safetensors", where)
        known = formats_refused.name(start) if not safetensors.looks_like(start, size) else ""
        _is(not known, "safetensors", start, where)
        return safetensors.check(descriptor, size, where)
    return _side_file(descriptor, start, size, name, where)


def _what(start: bytes) -> str:
    return formats_refused.name(start) or "something unknown"


def _is(holds: bool, wanted: str, start: bytes, where: str) -> None:
    if not holds:
        raise refuse("the content is not what the name says", where, wanted, _what(start))


def _is_named(name: str, ending: str, what: str, where: str) -> None:
    """Refuse a name that says something else; one without an ending (a digest) says nothing."""
    if not name.endswith(ending) and "." in name:
        raise refuse(
            "the name is not what the content is", where, f"a name that ends in {ending}", what
        )


def _side_file(descriptor: int, start: bytes, size: int, name: str, where: str) -> Checked:
    known = formats_refused.name(start)
    template = name.endswith(".jinja")
    if known or not (template or name.endswith(_INDEX) or name in _JSON or _TEXT.fullmatch(name)):
        raise refuse(
            "this is no accepted format",
            where,
            "GGUF, safetensors, or one of their side files by its usual name",
            known or "something unknown",
        )
    data = os.pread(descriptor, _limit(name, template, size, where) + 1, 0)
    if len(data) != size:
        raise refuse("the file changed while it was read", where)
    if name.endswith(".json"):
        return _json(data, name, where)
    _text(data, where)
    if template:
        return Checked("template", chat_template_sha256=sha256_bytes(data))
    return Checked("text")


def _limit(name: str, template: bool, size: int, where: str) -> int:
    """Return how many bytes the file may have, after holding ``size`` against it."""
    limit = MAX_JSON if name.endswith(".json") else MAX_TEXT
    if name in _VOCABULARIES:
        limit = MAX_VOCABULARY
    elif name.endswith(_INDEX):
        limit = safetensors.MAX_HEADER
    elif template:
        limit = MAX_TEMPLATE
    if not 0 < size <= limit:
        raise refuse("the size does not fit", where, f"1 to {limit} bytes", f"{size}")
    return limit


def _json(data: bytes, name: str, where: str) -> Checked:
    limit = _limit(name, False, len(data), where)
    atoms = sum(data.count(mark) for mark in (b",", b"[", b"{", b":"))
    if atoms > _MAX_ATOMS[limit]:
        raise refuse(
            "the document unfolds to too much",
            where,
            f"at most {_MAX_ATOMS[limit]} values",
            f"{atoms}",
        )
    if name.endswith(_INDEX):
        return safetensors.check_index(data, where)
    try:
        value = canonical.parse(data, where=where, max_bytes=limit)
    except AirlockError as exc:
        raise refuse(str(exc).rstrip("."), "") from exc
    if not isinstance(value, dict):
        raise refuse("the document is no object", where)
    if name in _CONFIGS:
        _no_remote_code(value, where)
    return Checked("json", chat_template_sha256=_templates(value, where))


def _no_remote_code(value: Any, where: str) -> None:
    level = [value]
    while level:
        item = level.pop()
        if isinstance(item, dict):
            for key in _REMOTE_CODE:
                if key in item:
                    raise refuse(
                        f"'{key}' makes a runtime load Python code from the model",
                        where,
                        "a model without code of its own",
                    )
            level += item.values()
        elif isinstance(item, list):
            level += item


def _templates(value: Mapping[str, Any], where: str) -> str:
    """Return the digest of the chat templates in a tokenizer_config.json, '' where there are none."""
    found = value.get("chat_template")
    if found is None:
        return ""
    if isinstance(found, list):
        named = [entry for entry in found if isinstance(entry, dict)]
        templates = {str(entry.get("name")): entry.get("template") for entry in named}
        if len(templates) != len(found):
            raise refuse("the chat templates have no names of their own", where)
        templates = {"" if key == "default" else key: text for key, text in templates.items()}
    else:
        templates = {"": found}
    if not all(isinstance(text, str) for text in templates.values()):
        raise refuse("the chat template is no text", where)
    try:
        return template_digest({key: str(text).encode() for key, text in templates.items()})
    except UnicodeEncodeError as exc:
        raise refuse("the chat template is not UTF-8", where) from exc


def _text(data: bytes, where: str) -> None:
    control = _CONTROL.search(data)
    if control:
        raise refuse(
            "the text holds a control character",
            f"{where}, byte {control.start()}",
            found=repr(control[0]),
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise refuse(f"the text is not UTF-8 ({exc.reason})", f"{where}, byte {exc.start}") from exc


def check_model(files: Mapping[str, str]) -> dict[str, Checked]:
    """Check all files of a model, name in the model to path, alone and against one another.

    Raises AirlockError, OSError.
    """
    found = {name: check(path, name) for name, path in files.items()}
    check_together(found, ", ".join(sorted(files)))
    return found


def check_together(found: Mapping[str, Checked], where: str) -> None:
    """Hold the checked files of a whole model, by name in the model, against one another.

    There have to be weights, and an index or the parts of a model name each other exactly. Messages
    call the model ``where``. Raises AirlockError.
    """
    if not any(item.format in ("gguf", "safetensors") for item in found.values()):
        raise refuse("the model has no weights", where, "GGUF or safetensors")
    for folder in {os.path.dirname(name) for name in found}:
        inside = {
            os.path.basename(name): item
            for name, item in found.items()
            if os.path.dirname(name) == folder
        }
        _shards(inside, folder or "the model")
        _parts(inside, folder or "the model")


def _shards(found: Mapping[str, Checked], where: str) -> None:
    """Hold the safetensors files of a folder against its index; without one there is one file."""
    files = {name: item.names for name, item in found.items() if item.format == "safetensors"}
    indexes = {name: item for name, item in found.items() if item.format == "safetensors-index"}
    if len(indexes) > 1 or (len(files) > 1 and not indexes):
        raise refuse(
            "it is open which safetensors files are loaded",
            where,
            "one index for several files",
            f"{len(indexes)} for {', '.join(sorted(files))}",
        )
    for name, index in indexes.items():
        wanted: dict[str, set[str]] = {}
        for tensor, shard in index.shards.items():
            wanted.setdefault(shard, set()).add(tensor)
        if set(wanted) != set(files):
            raise refuse(
                "the index and the files differ",
                f"{where}, {name}",
                ", ".join(sorted(wanted)),
                ", ".join(sorted(files)) or "none",
            )
        for shard, tensors in wanted.items():
            odd = sorted(tensors ^ files[shard])
            if odd:
                raise refuse(
                    "the index and the file do not name the same tensors",
                    f"{where}, {shard}",
                    found=f"tensor '{odd[0]}' in one of them",
                )


def _parts(found: Mapping[str, Checked], where: str) -> None:
    """Check that a GGUF model in parts is complete and that their names say the order."""
    parts: dict[tuple[str, int], dict[int, Checked]] = {}
    for name, item in found.items():
        number, count, _total = item.split
        named = PART.fullmatch(name)
        if count <= 1 and not named:
            continue
        if not named or (int(named[2]) - 1, int(named[3])) != (number, count):
            raise refuse(
                "the name does not say which part this is",
                f"{where}, {name}",
                f"-{number + 1:05d}-of-{count:05d}.gguf",
            )
        parts.setdefault((named[1], count), {})[number] = item
    for (prefix, count), items in parts.items():
        if set(items) != set(range(count)):
            raise refuse(
                "parts of the model are missing",
                f"{where}, {prefix}",
                f"{count} parts",
                f"{len(items)}",
            )
        tensors = len(frozenset().union(*(item.names for item in items.values())))
        if any(item.split[2] != tensors for item in items.values()):
            raise refuse(
                "the parts do not hold the tensors that they promise",
                f"{where}, {prefix}",
                f"{items[0].split[2]} tensors",
                f"{tensors}",
            )
