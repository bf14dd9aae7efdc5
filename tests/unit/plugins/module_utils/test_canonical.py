# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import canonical
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

from .slow import slowness

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_one_value_has_one_form(value: object) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data


def test_order_of_keys_does_not_matter() -> None:
    assert canonical.digest({"b": 1, "a": [True, None]}) == canonical.digest(
        {"a": [True, None], "b": 1}
    )


def test_looking_for_the_key_that_appears_twice_takes_no_time() -> None:
    keys = ",".join(f'"{number}":0' for number in range(80_000))
    began = time.process_time()
    with pytest.raises(AirlockError, match="'79999' appears twice"):
        canonical.loads(f'{{{keys},"79999":0}}'.encode())
    took = time.process_time() - began
    assert took < slowness()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b"[1.5]", "not an integer"),
        (b"[NaN]", "not JSON"),
        (b"\xff", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 80 + b"]" * 80, "nested too deeply"),
    ],
)
def test_ambiguous_or_hostile_input_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(AirlockError, match=reason):
        canonical.loads(data)


def test_a_document_above_the_limit_is_refused() -> None:
    with pytest.raises(AirlockError, match="at most 4 bytes"):
        canonical.loads(b'"aaaa"', max_bytes=4)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"[1,2,3]", 3),
        (b'{"a":{},"b":[]}', 6),
        (b'["a,b,c,d:[{", "\\"", "\\\\", ",,,,\\\\\\","]', 4),
        (b'"' + b"," * 1000 + b'"', 0),
        (b'{"' + b"\\\\" * 100 + b'":[[[[]]]]}', 6),
    ],
)
def test_values_are_counted_before_they_are_made(data: bytes, values: int) -> None:
    canonical.parse(data, where="x", max_values=values)
    with pytest.raises(AirlockError, match=f"at most {values - 1}"):
        canonical.parse(data, where="x", max_values=values - 1)


@pytest.mark.parametrize("data", [b'"' * 4_000_000, b'\\"' * 2_000_000, b'["' + b'",' * 2_000_000])
def test_counting_values_takes_no_time(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(AirlockError):
        canonical.parse(data, where="x", max_values=1000)
    assert time.process_time() - began < 1


@given(st.recursive(st.none() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_no_ordinary_document_has_more_values_than_are_in_it(value: object) -> None:
    def count(item: object) -> int:
        if isinstance(item, dict):
            return 1 + 2 * len(item) + sum(map(count, item.values()))
        return 1 + len(item) + sum(map(count, item)) if isinstance(item, list) else 0

    data = json.dumps(value).encode()
    assert canonical.parse(data, where="x", max_values=count(value)) == value


@given(st.binary(max_size=200))
def test_no_input_escapes_the_error_family(data: bytes) -> None:
    with contextlib.suppress(AirlockError):
        canonical.loads(data)


@pytest.mark.parametrize("value", [1.5, {1: 2}, {"a": object()}, b"bytes", "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(AirlockError):
        canonical.dumps(value)
