# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import (
    formats,
    gguf_kinds,
    gguf_reader,
)
from ansible_collections.homelab.airlock.plugins.module_utils import gguf as parser
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.formats_checked import Checked
from ansible_collections.homelab.airlock.tests.corpus.gguf_cases import (
    ARCHITECTURE,
    DATA,
    F64,
    KEYS,
    STRING,
    TEMPLATE,
    TENSORS,
    array,
    gguf,
    scalar,
    tensor,
)


def check(directory: Path, data: bytes) -> Checked:
    (directory / "model.gguf").write_bytes(data)
    return formats.check(str(directory / "model.gguf"))


def test_what_a_manifest_learns(tmp_path: Path) -> None:
    data = gguf()
    assert check(tmp_path, data).document() == {
        "format": "gguf",
        "version": 3,
        "architecture": "llama",
        "tensor_count": 2,
        "alignment": 32,
        "header_sha256": hashlib.sha256(data[: -len(DATA)]).hexdigest(),
        "chat_template_sha256": hashlib.sha256(b"{{ messages }}").hexdigest(),
    }


def test_the_digests_follow_what_they_are_of(tmp_path: Path) -> None:
    was = check(tmp_path, gguf())
    weights = check(tmp_path, gguf(data=b"\1" * len(DATA)))
    assert weights.header_sha256 == was.header_sha256
    rest = tuple(key for key in KEYS if key is not TEMPLATE)
    other = check(tmp_path, gguf((*rest, scalar("tokenizer.chat_template", STRING, "{{ evil }}"))))
    assert other.chat_template_sha256 != was.chat_template_sha256
    named = scalar("tokenizer.chat_template.tool_use", STRING, "{{ evil }}")
    assert check(tmp_path, gguf((*KEYS, named))).chat_template_sha256 != was.chat_template_sha256
    assert check(tmp_path, gguf(rest)).chat_template_sha256 == ""


def test_the_tensor_data_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 64 * 1024**2
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(tensors=(tensor("w", (size,), 24, 0),), data=b""))
    os.truncate(path, path.stat().st_size + size)
    read, pread = [], os.pread

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        data = pread(descriptor, count, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    assert formats.check(str(path)).tensor_count == 1
    assert sum(read) < 2 * 1024**2


def test_a_header_longer_than_one_read(tmp_path: Path) -> None:
    tokens = ["t" * (number % 90) for number in range(60_000)]
    keys = (ARCHITECTURE, array("tokenizer.ggml.tokens", STRING, tokens))
    assert len(gguf(keys)) > 3 * 1024**2
    assert check(tmp_path, gguf(keys)).tensor_count == len(TENSORS)
    for cut in (1024**2 - 4, 1024**2, 1024**2 + 4, 2 * 1024**2):
        with pytest.raises(AirlockError, match="ends before the header"):
            check(tmp_path, gguf(keys)[:cut])


def test_a_header_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reader, "MAX_HEADER", 2 * 1024**2)
    with pytest.raises(
        AirlockError, match="the header is too long: expected at most 2097152 bytes"
    ):
        check(tmp_path, gguf((ARCHITECTURE, array("x", F64, [0.0] * 300_000))))


def test_a_file_that_shrinks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, pread = gguf(), os.pread

    def cut(descriptor: int, count: int, offset: int) -> bytes:
        os.ftruncate(writer.fileno(), 4)
        return pread(descriptor, count, offset)

    (tmp_path / "model.gguf").write_bytes(whole)
    with (tmp_path / "model.gguf").open("r+b") as writer:
        monkeypatch.setattr(os, "pread", cut)
        with pytest.raises(AirlockError, match="became shorter while it was read"):
            formats.check(str(tmp_path / "model.gguf"))


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("tokenizer.ggml.scores", ("array of float32",)),
        ("tokenizer.ggml.eos_token_id", ("uint32",)),
        ("tokenizer.chat_template.rag", ("string",)),
        ("clip.vision.block_count", ("uint32", "uint64")),
        ("general.quantized_by", ()),
    ],
)
def test_well_known_keys_have_kinds(key: str, kinds: tuple[str, ...]) -> None:
    assert gguf_kinds.wanted_kinds(key) == kinds


def test_a_refusal_says_where(tmp_path: Path) -> None:
    data: dict[str, Any] = {"tensors": (TENSORS[0], tensor("x", (5,), 0, 544))}
    with pytest.raises(AirlockError) as refusal:
        check(tmp_path, gguf(**data))
    at = gguf(**data).index((544).to_bytes(8, "little"))
    assert str(refusal.value) == (
        f"{tmp_path}/model.gguf, byte {at}, tensor 'x': the tensor does not follow the one before it: "
        "expected offset 512, found 544; the file is damaged or made to do harm: fetch it again from "
        "its publisher, or choose another one."
    )


def test_the_parser_asks_for_the_magic_itself(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gguf(magic=b"GGUX"))
    with (
        (tmp_path / "x").open("rb") as opened,
        pytest.raises(AirlockError, match="this is not GGUF"),
    ):
        parser.check(opened.fileno(), 10**6, "x")
