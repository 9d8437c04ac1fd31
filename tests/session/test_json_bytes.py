"""JSON in bytes: what is written is read back the same, and as the standard library reads it."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.session.json_bytes import read_json, write_json

_DEEP = 500
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=10,
)


@given(_values)
def test_both_ways(value: Any) -> None:
    """Whatever JSON can say, lone surrogates too, comes back, from the standard library's text as well."""
    assert value == read_json(write_json(value)) == read_json(json.dumps(value).encode())
    assert repr(value) == repr(read_json(write_json(value)))


def test_numbers_that_json_lacks() -> None:
    """NaN and infinities are read and written as the standard library does."""
    for text in ("NaN", "Infinity", "-Infinity"):
        assert text == str(json.dumps(read_json(text.encode()))) == write_json(json.loads(text)).decode()
    assert math.isnan(read_json(b"NaN"))


def test_a_deep_structure() -> None:
    """Hundreds of levels, which pydantic's core refuses, are read and written all the same."""
    text = b"[" * _DEEP + b"]" * _DEEP
    assert text == write_json(read_json(text))


def test_a_lone_surrogate() -> None:
    """Half a character, which has no UTF-8, is read and written by the standard library."""
    assert {"name": "\ud83d"} == read_json(write_json({"name": "\ud83d"})) == read_json(rb'{"name":"\ud83d"}')


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"{'a': 1}", b"\xff", b"1 2"])
def test_no_json(text: bytes) -> None:
    """A ValueError tells of a text that is no JSON."""
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        read_json(text)
