"""From bodies and queries to typed values; what does not fit is refused with the place where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.inspect import ListType, Metadata, SetType, StructType, TupleType, Type, UnionType, type_info

from homeserver.core.canonical_json import MAX_JSON_DEPTH, CanonicalJSONError, decode_json
from homeserver.core.errors import bad_json, invalid_param, missing_param, not_json

# Decoding more than this on the event loop would hold everyone up.
LARGE_BODY = 128 * 1024

# What a client sends becomes part of events, which servers wrap in transactions and answers, and those must not be nested too deep
# for the next server either.
CLIENT_DEPTH = MAX_JSON_DEPTH - 20


async def decode_content(content: bytes, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """JSON, strictly: UTF-8, no duplicate keys, no lone surrogates, a limited depth. Raises M_NOT_JSON."""
    try:
        if len(content) > LARGE_BODY:
            return await asyncio.to_thread(decode_json, content, max_depth=max_depth)
        return decode_json(content, max_depth=max_depth)
    except CanonicalJSONError as error:
        raise not_json(f"The body is not JSON: {error}") from error


def convert_body(value: Any, body_type: Any) -> Any:
    """Decoded JSON as `body_type`. Unknown keys are ignored. Raises M_BAD_JSON naming the JSON path."""
    try:
        return msgspec.convert(value, body_type)
    except msgspec.ValidationError as error:
        raise bad_json(str(error)) from error


class QueryDecoder:
    """Turns query parameters into a Struct.

    Strings become numbers and booleans where the field wants them; a field that is a list takes every value
    of a repeated parameter, any other takes the first.
    """

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self._struct = struct
        info = type_info(struct)
        assert isinstance(info, StructType)
        self._lists = {field.encode_name for field in info.fields if _is_list(field.type)}
        self._names = [field.encode_name for field in info.fields]
        self._required = [field.encode_name for field in info.fields if field.required]

    def decode(self, query: Mapping[str, list[str]]) -> Any:
        """Raises M_MISSING_PARAM and M_INVALID_PARAM naming the parameter."""
        for name in self._required:
            if name not in query:
                raise missing_param(f"The query parameter {name} is missing")
        values: dict[str, Any] = {}
        for name in self._names:
            if name in query:
                values[name] = query[name] if name in self._lists else query[name][0]
        try:
            return msgspec.convert(values, self._struct, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_param(f"Query parameter: {error}") from error


def _is_list(field_type: Type) -> bool:
    if isinstance(field_type, Metadata):
        return _is_list(field_type.type)
    if isinstance(field_type, UnionType):
        return any(_is_list(member) for member in field_type.types)
    return isinstance(field_type, ListType | SetType | TupleType)
