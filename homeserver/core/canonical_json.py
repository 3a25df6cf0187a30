"""Canonical JSON: encoding it, decoding JSON strictly, and holding a value against its limits.

Spec: https://spec.matrix.org/v1.19/appendices/#canonical-json
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from canonicaljson import encode_canonical_json

MAX_INTEGER: Final = 2**53 - 1
MIN_INTEGER: Final = -(2**53) + 1
MAX_JSON_DEPTH: Final = 200
"""How deep objects and arrays may nest in what is received. The specification sets no limit; every
implementation has one, and a bottomless value would exhaust the stack of whoever encodes it."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class CanonicalJSONError(ValueError):
    """Not JSON, or JSON that canonical JSON cannot express. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_canonical(value: Any) -> bytes:
    """The canonical JSON of a value, in UTF-8. Raises `CanonicalJSONError` if it has none.

    Floats and integers of any size are written as they are, because events of room versions 1 to 5 contain
    them and their hashes cover them; where they are not allowed, `check_canonical` says so.
    """
    try:
        return encode_canonical_json(value)
    except UnicodeEncodeError:
        raise CanonicalJSONError("a string contains a lone surrogate, which UTF-8 cannot express") from None
    except RecursionError:
        raise CanonicalJSONError("nested too deep") from None
    except (TypeError, ValueError) as error:
        raise CanonicalJSONError(str(error)) from None


def _refuse_constant(literal: str) -> NoReturn:
    raise CanonicalJSONError(f"{literal} is not JSON")


def _parse_float(literal: str) -> float | int:
    """A number with a fraction or an exponent.

    The specification's example makes 10000000000 of 1e10: an exponent alone does not make a float of an
    integer. A fraction does, even `1.0`; and events of room versions 1 to 5 are hashed with the fraction they
    came with.
    """
    number = float(literal)
    if not math.isfinite(number):
        raise CanonicalJSONError(f"the number {literal[:40]} is too large")
    if "." not in literal and number.is_integer() and abs(number) <= MAX_INTEGER:
        return int(number)
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CanonicalJSONError(f"the key {key[:100]!r} occurs twice in an object")
            seen.add(key)
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_parse_float
)


def decode_json(data: bytes | str, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Decode JSON strictly; raises `CanonicalJSONError` with the reason.

    Refused: what is not UTF-8, lone surrogates, an object with the same key twice, NaN and Infinity, numbers
    beyond a double's range, and nesting deeper than `max_depth`. Floats pass: see `check_canonical`.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CanonicalJSONError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = _decoder.decode(text)
    except CanonicalJSONError:
        raise
    except RecursionError:
        raise CanonicalJSONError(f"nested deeper than {max_depth}") from None
    except ValueError as error:  # JSONDecodeError, and integers with thousands of digits
        raise CanonicalJSONError(f"not JSON: {error}") from None
    _check_decoded(value, text, max_depth)
    if isinstance(data, str):
        encode_canonical(value)
    return value


def decode_json_at(text: str, start: int, *, max_depth: int = MAX_JSON_DEPTH) -> tuple[Any, int] | None:
    """The value that begins at `start` in text that was UTF-8, and where it ends; None when there is no whole value.

    For JSON that comes in pieces: a number at the end of the text may go on. As strict as `decode_json`, and raises the same.
    """
    try:
        value, end = _decoder.raw_decode(text, start)
    except CanonicalJSONError:
        raise
    except RecursionError:
        raise CanonicalJSONError(f"nested deeper than {max_depth}") from None
    except json.JSONDecodeError:
        return None
    except ValueError as error:  # integers with thousands of digits
        raise CanonicalJSONError(f"not JSON: {error}") from None
    _check_decoded(value, text[start:end], max_depth)
    return value, end


def _check_decoded(value: Any, text: str, max_depth: int) -> None:
    """What the decoder lets pass: bottomless values, and lone surrogates, which UTF-8 can only hold by an escape."""
    if text.count("{") + text.count("[") > max_depth:
        _check_depth(value, max_depth)
    if _SURROGATE_ESCAPE.search(text) is not None:
        encode_canonical(value)


def _check_depth(value: Any, max_depth: int) -> None:
    """Walk the containers level by level."""
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise CanonicalJSONError(f"nested deeper than {max_depth}")
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]


def check_canonical(value: Any, *, strict: bool) -> None:
    """Raise `CanonicalJSONError` unless the value can be canonical JSON.

    `strict` is what room version 6 and later enforce: no floats, and integers within [-(2**53)+1, 2**53-1].
    Without it those pass, as servers "MUST NOT strictly enforce" the limits in room versions 1 to 5.

    Spec: https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
    """
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str | bool) or item is None:
            continue
        if isinstance(item, int):
            if strict and not MIN_INTEGER <= item <= MAX_INTEGER:
                raise CanonicalJSONError(f"the integer {item} is outside of [-(2**53)+1, (2**53)-1]")
        elif isinstance(item, float):
            if strict:
                raise CanonicalJSONError(f"the number {item} is a float; only integers are allowed")
            if not math.isfinite(item):
                raise CanonicalJSONError(f"{item} is not JSON")
        elif isinstance(item, list | tuple):
            pending.extend(item)
        elif isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise CanonicalJSONError(f"the key {key!r} of an object is not a string")
            pending.extend(item.values())
        else:
            raise CanonicalJSONError(f"a {type(item).__name__} is not JSON")
