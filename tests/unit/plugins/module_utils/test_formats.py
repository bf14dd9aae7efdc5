# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import formats
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.tests.corpus import all_cases, house, split
from ansible_collections.homelab.airlock.tests.corpus.case import Case
from ansible_collections.homelab.airlock.tests.corpus.gguf_cases import (
    ARCHITECTURE,
    I32,
    U16,
    gguf,
    scalar,
)
from ansible_collections.homelab.airlock.tests.corpus.safetensors_cases import (
    INDEX,
    safetensors,
    tensor,
)

BAD, GOOD = all_cases.bad(), all_cases.good()


def test_the_corpus_is_as_large_as_promised() -> None:
    kinds = Counter(case.kind for case in BAD)
    assert kinds["gguf"] >= 60
    assert kinds["safetensors"] >= 40
    assert kinds["pickle"] >= 25
    assert len(BAD) >= 125
    assert len(GOOD) >= 30
    assert len({str(case) for case in BAD + GOOD}) == len(BAD) + len(GOOD)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_it_is_refused_for_what_is_wrong_with_it(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "content"
    path.write_bytes(case.data)
    with pytest.raises(AirlockError) as refusal:
        formats.check(str(path), case.name)
    sentence = str(refusal.value)
    assert case.refusal in sentence
    assert str(path) in sentence
    assert sentence.endswith("or choose another one.")
    assert "\n" not in sentence
    assert len(sentence) < 1000


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_it_is_accepted(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    checked = formats.check(str(path))
    formats_of = {"side": ("json", "text", "template"), "index": ("safetensors-index",)}
    assert checked.format in formats_of.get(case.kind, (case.kind,))
    assert checked.document()["format"] == checked.format


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(AirlockError, match="not a regular file"):
        formats.check(str(tmp_path / "model.gguf"))
    (tmp_path / "link.gguf").symlink_to(tmp_path / "model.gguf")
    with pytest.raises(OSError, match="symbolic links"):
        formats.check(str(tmp_path / "link.gguf"))


def test_a_template_has_the_same_digest_wherever_it_stands(tmp_path: Path) -> None:
    text = "{{ messages }}"
    (tmp_path / "model.gguf").write_bytes(gguf())
    (tmp_path / "chat_template.jinja").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text(f'{{"chat_template": "{text}"}}')
    digests = {formats.check(str(path)).chat_template_sha256 for path in tmp_path.iterdir()}
    assert digests == {hashlib.sha256(text.encode()).hexdigest()}


def model(directory: Path, files: dict[str, bytes]) -> dict[str, str]:
    for name, data in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
    return {name: str(directory / name) for name in files}


FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
SHARDED = {
    FIRST: safetensors({"a": tensor()}),
    SECOND: safetensors({"b": tensor()}),
    INDEX: f'{{"weight_map": {{"a": "{FIRST}", "b": "{SECOND}"}}}}'.encode(),
}


def part(number: int, count: int, tensors: int = 4) -> bytes:
    """Return a part that claims to be this one; its tensors are the same in every part."""
    return gguf(
        [
            ARCHITECTURE,
            scalar("split.no", U16, number),
            scalar("split.count", U16, count),
            scalar("split.tensors.count", I32, tensors),
        ]
    )


PARTS = {f"m-0000{number + 1}-of-00002.gguf": part(number, 2) for number in (0, 1)}


CUT = split.parts(gguf(), "q/m")  # as publishers do: no tensor in the first part


@pytest.mark.parametrize(
    "files",
    [
        SHARDED,
        house.shards(),
        CUT,
        {"model.gguf": gguf()},
        {"a/model.gguf": gguf(), "README.md": b"hi"},
    ],
)
def test_a_whole_model_is_accepted(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert set(formats.check_model(model(tmp_path, files))) == set(files)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({SECOND: None}, "the index and the files differ"),
        ({"model-00003-of-00003.safetensors": SHARDED[FIRST]}, "the index and the files differ"),
        ({INDEX: None}, "it is open which safetensors files are loaded"),
        ({"other.safetensors.index.json": SHARDED[INDEX]}, "it is open which"),
        ({SECOND: safetensors({"c": tensor()})}, "do not name the same tensors"),
        ({SECOND: safetensors({})[:8] + b"{}"}, "do not name the same tensors"),
        ({"modeling.py": b"import os"}, "as code"),
    ],
)
def test_a_sharded_model_is_what_its_index_says(
    tmp_path: Path, changes: dict[str, bytes | None], sentence: str
) -> None:
    changed = {**SHARDED, **changes}
    files = {name: data for name, data in changed.items() if data is not None}
    with pytest.raises(AirlockError, match=sentence):
        formats.check_model(model(tmp_path, files))


LAST, SECOND_PART = "q/m-00003-of-00003.gguf", "m-00002-of-00002.gguf"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"m-00001-of-00002.gguf": part(0, 2)}, "parts of the model are missing"),
        ({"m-00001-of-00002.gguf": part(1, 2)}, "does not say which part"),
        ({"model.gguf": part(0, 2)}, "does not say which part"),
        ({"m-00001-of-00001.gguf": gguf()}, "does not say which part"),
        (PARTS, "expected 4 tensors, found 2"),  # each holds the same two
        ({**CUT, LAST: part(2, 3, 3)}, "tensors that they promise"),
        ({name: CUT[name] for name in CUT if name != LAST}, "expected 3 parts, found 2"),
        ({**CUT, LAST: CUT["q/m-00002-of-00003.gguf"]}, "does not say which part"),
        ({**CUT, "q/n-00001-of-00002.gguf": part(0, 2)}, "parts of the model are missing"),
        (
            {SECOND_PART: part(1, 2), "m-00005-of-00002.gguf": part(4, 2)},
            "parts of the model are missing",
        ),
        ({"README.md": b"hello"}, "no weights"),
    ],
)
def test_a_model_in_parts_is_complete(
    tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(AirlockError, match=sentence):
        formats.check_model(model(tmp_path, files))


GGUF_TEMPLATE = {
    "format": "gguf",
    "chat_template_sha256": hashlib.sha256(b"{{ messages }}").hexdigest(),
}


def test_what_was_approved_is_approved(tmp_path: Path) -> None:
    path = model(tmp_path, {"model.gguf": gguf()})["model.gguf"]
    for wanted in (None, {}, {"format": "gguf"}, GGUF_TEMPLATE, formats.check(path).document()):
        assert formats.approve(path, "model.gguf", wanted, "chat").format == "gguf"


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            {**GGUF_TEMPLATE, "chat_template_sha256": "0" * 64},
            "the chat template is not the approved one",
        ),
        ({"format": "gguf", "header_sha256": "0" * 64}, "the header is not the approved one"),
        (
            {"format": "gguf", "tensor_count": 3},
            "the tensor count is not the approved one: expected 3, found 2",
        ),
        (
            {"format": "safetensors"},
            "the format is not the approved one: expected safetensors, found gguf",
        ),
        ({"format": "pickle"}, r"chat\.format: the value is unknown"),
        ({"architecture": "llama"}, "chat: the key 'format' is missing"),
        ({"format": "gguf", "header_sha256": "x"}, "this is not a SHA-256"),
        ({"format": "gguf", "version": "3"}, "the number does not fit"),
        ({"format": "gguf", "architecture": "a b"}, "the value does not fit"),
    ],
)
def test_what_drifted_is_refused(tmp_path: Path, wanted: dict[str, object], sentence: str) -> None:
    path = model(tmp_path, {"model.gguf": gguf()})["model.gguf"]
    with pytest.raises(AirlockError, match=sentence):
        formats.approve(path, "model.gguf", wanted, "chat")


def test_fuzzing_for_a_moment() -> None:
    """The long form is tests/run-fuzz 600."""
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(
        [
            sys.executable,
            str(root / "tests" / "fuzz" / "formats.py"),
            "--seconds",
            "3",
            "--seed",
            "3",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_side_file_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pread = tmp_path / "config.json", os.pread
    path.write_bytes(b"{}")

    def grown(descriptor: int, count: int, offset: int) -> bytes:
        data = pread(descriptor, count, offset)
        path.write_bytes(b'{"auto_map": {}}')
        return data

    monkeypatch.setattr(os, "pread", grown)
    with pytest.raises(AirlockError, match="changed while it was read"):
        formats.check(str(path))
