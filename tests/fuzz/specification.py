"""What the specification's OpenAPI files say of an endpoint: what it takes and what its answers look like."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from homeserver.http import Endpoint

from .nonsense import values

STRUCTURE = Path(__file__).parents[1] / "structure" / "spec_operations.json"
SCHEMAS = json.loads((Path(__file__).parent / "spec_schemas.json").read_text(encoding="utf-8"))


@cache
def _operations() -> dict[tuple[str, str], str]:
    """(module, function) -> the key of its schemas."""
    table = json.loads(STRUCTURE.read_text(encoding="utf-8"))
    return {
        (
            f"homeserver.{each['module']}",
            each["function"],
        ): f"{each['file'].split('/')[0]} {each['operation']}"
        for each in table
    }


def schemas_of(endpoint: Endpoint) -> dict[str, Any] | None:
    """The schemas of an endpoint's operation; None for what the specification does not know."""
    key = _operations().get((endpoint.handler.__module__, endpoint.handler.__name__))
    return None if key is None else SCHEMAS["operations"][key]


def query_names(endpoint: Endpoint) -> list[str]:
    """The names of its query parameters."""
    schemas = schemas_of(endpoint)
    return list(schemas["query"]) if schemas else []


@cache
def body_of(endpoint: Endpoint) -> st.SearchStrategy[Any] | None:
    """Bodies as the specification has them; None where there are none."""
    schemas = schemas_of(endpoint)
    if not schemas or not schemas.get("body"):
        return None
    return by_schema(schemas["body"])


def by_schema(schema: Any) -> st.SearchStrategy[Any]:
    """JSON that a schema allows, as far as the specification's schemas go: those of allOf are put together."""
    if schema is True or schema == {}:
        return values
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return st.deferred(lambda: by_schema(SCHEMAS["$defs"][name]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*(by_schema(each) for each in schema["anyOf"]))
    if "allOf" in schema:
        parts = [*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}]
        objects = [by_schema(part) for part in parts if part and part != {"type": "object"}]
        return st.tuples(*objects).map(_merged)
    kinds = schema.get("type", "object")
    return st.one_of(*(_of_kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)))


def _merged(parts: tuple[Any, ...]) -> Any:
    merged: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict):
            return part
        merged |= part
    return merged


def _of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case "object":
            return _objects(schema)
        case "array":
            return st.lists(by_schema(schema.get("items", True)), max_size=3)
        case "string":
            return st.from_regex(schema["pattern"]) if "pattern" in schema else st.text(max_size=20)
        case "integer" | "number":
            return st.integers(schema.get("minimum", -(2**53) + 1), schema.get("maximum", 2**53 - 1))
        case "boolean":
            return st.booleans()
    return st.none()


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {name: by_schema(each) for name, each in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    known = st.fixed_dictionaries(
        {name: each for name, each in properties.items() if name in required},
        optional={name: each for name, each in properties.items() if name not in required},
    )
    more = schema.get("additionalProperties", False)
    if not more:
        return known
    others = st.dictionaries(st.text(max_size=10), by_schema(more), max_size=2)
    return st.tuples(others, known).map(_merged)


@cache
def _validator(endpoint: Endpoint, status: int) -> Draft202012Validator | None:
    schemas = schemas_of(endpoint)
    schema = schemas["answers"].get(str(status)) if schemas else None
    return None if schema is None else Draft202012Validator({**schema, "$defs": SCHEMAS["$defs"]})


TOKEN_ERRORS = ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN", "M_USER_LOCKED")


def wrong_in(endpoint: Endpoint, status: int, body: Any) -> list[str]:
    """Where an answer is not as the specification says; empty where it is, or says nothing."""
    if status == 401 and body.get("errcode") in TOKEN_ERRORS:
        # Of every endpoint that takes an access token; what is listed as its 401 is an incomplete authentication.
        return []
    validator = _validator(endpoint, status)
    if validator is None:
        return []
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]
