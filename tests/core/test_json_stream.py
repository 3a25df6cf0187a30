"""Reading JSON piece by piece comes to what reading it at once does."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core import json_stream
from homeserver.core.canonical_json import CanonicalJSONError, decode_json
from homeserver.core.json_stream import JSONLists

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "state": VALUES | st.lists(VALUES),
        "auth_chain": st.lists(VALUES),
        "event": VALUES,
        "x": VALUES,
    },
)


def read(data: bytes, size: int, *, in_pair: bool = False) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The values and the entries of JSON that comes in pieces of this many bytes."""
    lists: dict[str, list[Any]] = {"state": [], "auth_chain": []}
    reader = JSONLists({name: entries.append for name, entries in lists.items()}, in_pair=in_pair)
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.close(), lists


@given(OBJECTS, st.integers(1, 60), st.booleans(), st.sampled_from([None, 2]))
def test_it_reads_what_json_says(
    value: dict[str, Any], size: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        expected = decode_json(text.encode("utf-8", "surrogatepass"))
    except CanonicalJSONError:
        with pytest.raises(CanonicalJSONError):
            read(text.encode("utf-8", "surrogatepass"), size)
        return
    values, lists = read(text.encode(), size)
    for name, entries in lists.items():
        if values.get(name) == []:
            values[name] = entries
    assert values == expected
    pair = b"[200, " + text.encode() + b"]"
    assert read(pair, size, in_pair=True)[1] == lists


@given(OBJECTS, st.integers(0, 200), st.integers(1, 60), st.binary(max_size=3))
def test_what_is_no_json_is_refused(value: dict[str, Any], place: int, size: int, damage: bytes) -> None:
    data = json.dumps(value).encode()
    data = data[: place % len(data)] + damage
    try:
        expected = decode_json(data)
    except CanonicalJSONError:
        expected = None
    if isinstance(expected, dict):
        read(data, size)
    else:
        with pytest.raises(CanonicalJSONError):
            read(data, size)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends too early"),
        (b"[]", "not an object"),
        (b'{"state": [1, 2', "ends too early"),
        (b'{"state": [1 2]}', ", was expected"),
        (b'{"state": [1,]}', "not JSON"),
        (b'{"state": [], "state": []}', "occurs twice"),
        (b'{"state": [{"a": 1, "a": 2}]}', "occurs twice"),
        (b'{"state": [NaN]}', "NaN"),
        (b'{"state": [1e999]}', "too large"),
        (b'{"state": ["\\ud800"]}', "surrogate"),
        (b'{"state": ["\xff"]}', "UTF-8"),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "nested"),
        (b"{1: 2}", "not a string"),
        (b'{"a": 1} x', "after its end"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "digits"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_reasons(data: bytes, reason: str, size: int) -> None:
    with pytest.raises(CanonicalJSONError, match=reason):
        read(data, size)


def test_a_single_value_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 1_000)
    assert read(b'{"state": ["' + b"x" * 900 + b'"]}', 50)[1]["state"] == ["x" * 900]
    with pytest.raises(CanonicalJSONError, match="over 1000 characters"):
        read(b'{"state": ["' + b"x" * 5_000, 50)


def test_a_value_that_comes_byte_by_byte_is_not_read_anew_with_each() -> None:
    data = b'{"state": [[' + b"1," * 20_000 + b"1]]}"
    begun = time.process_time()
    assert len(read(data, 1)[1]["state"][0]) == 20_001
    assert time.process_time() - begun < 5  # a minute when it is
