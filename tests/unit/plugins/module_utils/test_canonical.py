# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import canonical
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

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
    assert time.process_time() - began < 1


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


@given(st.binary(max_size=200))
def test_no_input_escapes_the_error_family(data: bytes) -> None:
    with contextlib.suppress(AirlockError):
        canonical.loads(data)


@pytest.mark.parametrize("value", [1.5, {1: 2}, {"a": object()}, b"bytes", "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(AirlockError):
        canonical.dumps(value)
