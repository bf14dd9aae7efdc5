# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import formats, safetensors
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.formats_checked import Checked
from ansible_collections.homelab.airlock.tests.corpus import safetensors_cases as made


def check(directory: Path, data: bytes) -> Checked:
    (directory / "model.safetensors").write_bytes(data)
    return formats.check(str(directory / "model.safetensors"))


def test_what_a_manifest_learns(tmp_path: Path) -> None:
    data = made.safetensors({"w": made.tensor()})
    assert check(tmp_path, data).document() == {
        "format": "safetensors",
        "tensor_count": 1,
        "header_sha256": hashlib.sha256(data[:-16]).hexdigest(),
    }


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda name: name != "__metadata__"
)


@given(
    st.dictionaries(NAMES, st.lists(st.integers(0, 5), max_size=4), max_size=8),
    st.none() | st.dictionaries(NAMES, NAMES, max_size=3),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_whatever_json_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: dict[str, list[int]],
    metadata: dict[str, str] | None,
    indent: int | None,
    ascii_only: bool,
) -> None:
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, shape in shapes.items():
        size = 1
        for extent in shape:
            size *= extent
        header[name] = made.tensor("U8", shape, end, end + size)
        end += size
    raw = json.dumps(header, indent=indent, ensure_ascii=ascii_only).encode()
    found = check(tmp_path_factory.mktemp("made"), made.safetensors(raw, bytes(end)))
    assert found.names == frozenset(shapes)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {f"t{number}": made.tensor("U8", [0], 0, 0) for number in range(3)}
    assert check(tmp_path, made.safetensors(empty, b"")).tensor_count == 3
    monkeypatch.setattr(safetensors, "MAX_TENSORS", 2)
    with pytest.raises(AirlockError, match="too many tensors"):
        check(tmp_path, made.safetensors(empty, b""))
    monkeypatch.setattr(safetensors, "MAX_METADATA", 9)
    with pytest.raises(AirlockError, match="metadata is too long"):
        check(tmp_path, made.safetensors({"__metadata__": {"a": "b", "c": "d"}}, b""))
    monkeypatch.setattr(safetensors, "MAX_HEADER", 9)
    with pytest.raises(AirlockError, match="expected 2 to 9 bytes"):
        check(tmp_path, made.safetensors(empty, b""))


def test_the_place_is_in_bytes(tmp_path: Path) -> None:
    raw = '{"größe":{"dtype":"U9","shape":[],"data_offsets":[0,1]}}'.encode()
    with pytest.raises(AirlockError, match=rf"byte {8 + raw.index(b'{', 1)}, tensor 'größe'"):
        check(tmp_path, made.safetensors(raw, b"\0"))


def test_a_file_that_shrinks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pread = tmp_path / "model.safetensors", os.pread
    path.write_bytes(made.safetensors({"w": made.tensor()}))

    def cut(descriptor: int, count: int, offset: int) -> bytes:
        if offset:
            os.truncate(path, 20)
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", cut)
    with pytest.raises(AirlockError, match="became shorter while it was read"):
        formats.check(str(path))


def test_a_header_costs_as_much_as_it_is_long(tmp_path: Path) -> None:
    """Names that are not ASCII, blanks without end and very many tensors, in the longest header that is taken."""
    count = 30_000
    items = ",".join(
        f'"t{at}":{{"dtype":"U8","shape":[1],"data_offsets":[{at},{at + 1}]}}'
        for at in range(count)
    )
    header = f'{{"__metadata__":{{"n\N{GRINNING FACE}":"x"}},{items}'.encode()
    header += b" " * (safetensors.MAX_HEADER - len(header) - 1) + b"}"
    data = len(header).to_bytes(8, "little") + header + bytes(count)
    start = time.process_time()
    tracemalloc.start()
    try:
        assert check(tmp_path, data).tensor_count == count
        assert tracemalloc.get_traced_memory()[1] < 192 * 1024**2
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 15  # 2 s alone; quadratic, it took minutes
