# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check of a model file returns, and how all checks refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from . import artifacts_schema as schema
from . import canonical
from .errors import AirlockError
from .files import sha256_bytes

_FORMATS = ("gguf", "safetensors", "safetensors-index", "json", "template", "text")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_FIX = "the file is damaged or made to do harm: fetch it again from its publisher, or choose another one"


@dataclass(frozen=True)
class Checked:
    """A file that holds what its format promises.

    ``format``: gguf, safetensors, safetensors-index, json, template or text. ``header_sha256`` is over
    all bytes before the tensor data; ``chat_template_sha256`` over the template's UTF-8 bytes. ``split``
    is (number from 0, count) of a GGUF file in parts, ``shards`` the file of each tensor that an index
    names, ``names`` the tensors. What a format does not have is 0 or empty.
    """

    format: str
    version: int = 0
    architecture: str = ""
    tensor_count: int = 0
    alignment: int = 0
    header_sha256: str = ""
    chat_template_sha256: str = ""
    split: tuple[int, int, int] = field(default=(0, 0, 0), metadata={"internal": True})
    names: frozenset[str] = field(default=frozenset(), repr=False, metadata={"internal": True})
    shards: Mapping[str, str] = field(
        default_factory=dict, repr=False, hash=False, metadata={"internal": True}
    )

    def document(self) -> dict[str, Any]:
        """Return what a manifest carries: the fields that this format has, for canonical JSON."""
        values = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if "internal" not in entry.metadata
        }
        return {name: value for name, value in values.items() if value}


def parse(value: Any, where: str) -> Checked:
    """Read what a catalog or a manifest says about a file. Raises AirlockError."""
    digests = ("header_sha256", "chat_template_sha256")
    numbers = ("version", "tensor_count", "alignment")
    entry = schema.fields(
        value, where, required=("format",), optional=("architecture", *numbers, *digests)
    )
    schema.choice(entry["format"], f"{where}.format", _FORMATS)
    for name in digests:
        if name in entry:
            schema.sha256(entry[name], f"{where}.{name}")
    for name in numbers:
        if name in entry:
            schema.integer(entry[name], f"{where}.{name}", 1, 2**31)
    if "architecture" in entry:
        schema.text(entry["architecture"], f"{where}.architecture", _NAME, "llama")
    return Checked(**entry)


def hold(found: Checked, wanted: Checked, where: str) -> None:
    """Refuse a file that is not what the catalog approved. Raises AirlockError."""
    actual = found.document()
    for name, value in wanted.document().items():
        if actual.get(name) != value:
            raise AirlockError.refuse(
                f"the {name.replace('_sha256', '').replace('_', ' ')} is not the approved one",
                expected=str(value),
                found=str(actual.get(name, "none")),
                where=where,
                fix="find out why it changed before correcting the catalog",
            )


def template_digest(templates: Mapping[str, bytes]) -> str:
    """Return the digest of a model's chat templates by name, '' for none.

    The default one, named '', alone: the SHA-256 of its bytes, so that it equals that of the same
    template in a file. With others, which a runtime picks for tools and the like: that of them all.
    """
    if set(templates) <= {""}:
        return sha256_bytes(templates[""]) if templates else ""
    return canonical.digest({name: sha256_bytes(text) for name, text in templates.items()})


def refuse(what: str, where: str, expected: str = "", found: str = "") -> AirlockError:
    """Build the refusal of a file's content."""
    return AirlockError.refuse(what, expected=expected, found=found, where=where, fix=_FIX)
