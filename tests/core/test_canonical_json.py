"""Canonical JSON: the specification's examples, its limits, and what strict decoding refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical_json import (
    MAX_INTEGER,
    MAX_JSON_DEPTH,
    MIN_INTEGER,
    CanonicalJSONError,
    check_canonical,
    decode_json,
    encode_canonical,
)
from tests.core.strategies import QUICK, canonical_values

VECTORS = json.loads((Path(__file__).parent / "vectors" / "canonical_json.json").read_text())


@pytest.mark.parametrize("vector", VECTORS)
def test_the_examples_of_the_specification(vector: dict[str, str]) -> None:
    value = decode_json(vector["input"].encode())
    check_canonical(value, strict=True)
    assert encode_canonical(value) == vector["canonical"].encode()


@QUICK
@given(canonical_values)
def test_round_trip(value: Any) -> None:
    check_canonical(value, strict=True)
    encoded = encode_canonical(value)
    assert decode_json(encoded) == value
    assert decode_json(encoded.decode()) == value
    assert encode_canonical(decode_json(encoded)) == encoded


@QUICK
@given(canonical_values)
def test_any_other_encoding_of_the_value_becomes_the_same_bytes(value: Any) -> None:
    assert encode_canonical(decode_json(json.dumps(value, indent=2))) == encode_canonical(value)


def test_keys_are_sorted_by_code_point_and_control_characters_escaped_as_the_grammar_says() -> None:
    assert encode_canonical({"\U0001f4ac": 1, "\uffee": 2, "a": 3, "B": 4}) == (
        '{"B":4,"a":3,"\uffee":2,"\U0001f4ac":1}'.encode()
    )
    assert encode_canonical('\x00\x08\t\n\x0b\x0c\r\x1f"\\/\x7f\u2028') == (
        '"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\"\\\\/\x7f\u2028"'.encode()
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "the number 1.5 is a float"),
        (1.0, "the number 1.0 is a float"),
        (-0.0, "is a float"),
        (MAX_INTEGER + 1, "outside of"),
        (MIN_INTEGER - 1, "outside of"),
        ({"a": [{"b": 2**53}]}, "the integer 9007199254740992 is outside of"),
        ({"a": {"b": [1, 2, 0.1]}}, "is a float"),
        ({1: "a"}, "the key 1 of an object is not a string"),
        ({"a": b"bytes"}, "a bytes is not JSON"),
        ({"a": object()}, "a object is not JSON"),
    ],
)
def test_what_strict_rooms_refuse(value: Any, reason: str) -> None:
    with pytest.raises(CanonicalJSONError, match=reason):
        check_canonical(value, strict=True)


@pytest.mark.parametrize("value", [MAX_INTEGER, MIN_INTEGER, 0, True, None, "", [], {}, {"a": [{}]}])
def test_what_strict_rooms_accept(value: Any) -> None:
    check_canonical(value, strict=True)


def test_older_rooms_keep_floats_and_large_integers_as_they_came() -> None:
    text = b'{"a":1.5,"b":100.0,"c":9007199254740993,"d":1e+16,"e":-0.0,"f":1e-07}'
    value = decode_json(text)
    check_canonical(value, strict=False)
    assert encode_canonical(value) == text


def test_older_rooms_have_no_infinity_either() -> None:
    for number in (float("inf"), float("-inf"), float("nan")):
        with pytest.raises(CanonicalJSONError, match="is not JSON"):
            check_canonical({"a": number}, strict=False)
        with pytest.raises(CanonicalJSONError):
            encode_canonical({"a": number})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b"[" + b"1" * 5000 + b"]", "not JSON"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\x80"', "not UTF-8"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e400]", "the number 1e400 is too large"),
        (b"[-1.5e400]", "is too large"),
        (b'{"a":1,"b":{"c":1,"c":1}}', "the key 'c' occurs twice in an object"),
        (b'{"a":1,"\\u0061":2}', "the key 'a' occurs twice in an object"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\uDFFF":1}', "lone surrogate"),
        (b'["\\ud83d\\u0041"]', "lone surrogate"),
        (b'["\\\\\\ud83d\\\\ude00"]', "lone surrogate"),
        ('"\ud800"', "lone surrogate"),
        (b"[" * 201 + b"]" * 201, "nested deeper than 200"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "nested deeper than 200"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 200"),
        (b"[" * 100_000, "nested deeper than 200"),
    ],
)
def test_what_decoding_refuses(text: bytes | str, reason: str) -> None:
    with pytest.raises(CanonicalJSONError, match=reason) as refused:
        decode_json(text)
    assert refused.value.reason == str(refused.value)


def test_depth_counts_nesting_and_not_brackets() -> None:
    assert MAX_JSON_DEPTH == 200
    deepest = b"[" * 200 + b"]" * 200
    assert encode_canonical(decode_json(deepest)) == deepest
    assert len(decode_json(b"[" + b"{}," * 500 + b"{}]")) == 501
    assert decode_json('"' + "[" * 500 + '"') == "[" * 500
    with pytest.raises(CanonicalJSONError, match="nested deeper than 1"):
        decode_json(b"[{}]", max_depth=1)
    assert decode_json(b"[1]", max_depth=1) == [1]


def test_pairs_of_surrogates_and_escaped_backslashes_are_no_lone_surrogates() -> None:
    assert decode_json(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert decode_json(b'"\\\\ud800"') == "\\ud800"


@pytest.mark.parametrize(
    ("text", "value"), [(b"1e3", 1000), (b"1E+3", 1000), (b"-0", 0), (b"-0e0", 0), (b"5e-1", 0.5)]
)
def test_an_exponent_alone_does_not_make_a_float(text: bytes, value: float) -> None:
    decoded = decode_json(text)
    assert decoded == value
    assert type(decoded) is type(value)


def test_what_is_not_json_is_not_encoded() -> None:
    with pytest.raises(CanonicalJSONError, match="lone surrogate"):
        encode_canonical({"a": "\udc00"})
    with pytest.raises(CanonicalJSONError):
        encode_canonical({"a": b""})
    with pytest.raises(CanonicalJSONError):
        encode_canonical({"a": 1, 2: 3})
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(CanonicalJSONError, match="Circular"):
        encode_canonical(circular)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CanonicalJSONError, match="nested too deep"):
        encode_canonical(deep)


@QUICK
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        value = decode_json(data)
    except CanonicalJSONError:
        return
    check_canonical(value, strict=False)
