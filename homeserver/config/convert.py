"""From what YAML gave to the typed structs of `settings`, with every problem named by its path.

msgspec describes the structs; the walk is ours because an operator wants all mistakes at once, each with its
path, what was found and what is allowed, and wants a misspelt key named instead of ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec.inspect as inspect
from msgspec import NODEFAULT, Struct

from .values import Parser, Secret

INVALID = object()
"""Stands for a value that had an error: the error is in the report already."""


@dataclass(frozen=True)
class Problem:
    """Something about the file: `path` of the key, and the message."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass
class Report:
    """What the walk found: errors stop the start, warnings and notes are shown and logged."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def error(self, path: str, found: Any, allowed: str) -> Any:
        """Record a wrong value; returns INVALID so that callers can return it at once."""
        self.errors.append(Problem(path, f"found {show(found)}, but allowed is {allowed}"))
        return INVALID


def show(value: Any) -> str:
    """A value as the operator wrote it, short, with its kind where that is what is wrong."""
    if value is None:
        return "nothing"
    if isinstance(value, Secret):
        return "a secret"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a section with " + (", ".join(str(key) for key in list(value)[:4]) or "nothing in it")
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 60 else value[:57] + "..."}"'
    return str(value)


def describe(kind: inspect.Type) -> str:
    """What is allowed, in words."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.StrType():
            return "a text"
        case inspect.LiteralType(values=values):
            words = [str(each) for each in values]
            return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
        case inspect.VarTupleType(item_type=item):
            return "a list, each of them " + describe(item)
        case inspect.StructType(fields=fields):
            return "a section with " + ", ".join(each.encode_name for each in fields)
        case inspect.DictType():
            return "a section of names and values"
        case _:
            return "another kind of value"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low, high = kind.ge, kind.le
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?` when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f' Did you mean "{close[0]}"?' if close else ""


class Converter:
    """Converts values by their type's description; problems go into `report`."""

    def __init__(self, parsers: Mapping[type, Parser], report: Report) -> None:
        self.parsers = parsers
        self.report = report

    def convert(self, kind: inspect.Type, value: Any, path: str, default: Any = NODEFAULT) -> Any:
        """The typed value, or INVALID after recording why; absent nested keys are taken from `default`."""
        match kind:
            case inspect.AnyType():
                return value
            case inspect.UnionType(types=types):
                if value is None:
                    return None
                inner = [each for each in types if not isinstance(each, inspect.NoneType)]
                if len(inner) == 1:
                    return self.convert(inner[0], value, path, default)
                # Of several types all are simple.
                if any(_is_leaf(each, value) for each in inner):
                    return value
                return self.report.error(path, value, " or ".join(map(describe, inner)))
            case inspect.CustomType(cls=cls):
                try:
                    return self.parsers[cls](value)
                except ValueError as error:
                    return self.report.error(path, value, str(error))
            case inspect.StructType():
                return self._struct(kind, value, path, default)
            case inspect.VarTupleType(item_type=item):
                return self._list(kind, item, value, path)
            case inspect.DictType(value_type=item):
                return self._dict(kind, item, value, path)
        if not _is_leaf(kind, value):
            return self.report.error(path, value, describe(kind))
        return float(value) if isinstance(kind, inspect.FloatType) else value

    def _list(self, kind: inspect.Type, item: inspect.Type, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return self.report.error(path, value, describe(kind))
        items = tuple(self.convert(item, each, f"{path}[{index}]") for index, each in enumerate(value))
        return INVALID if any(each is INVALID for each in items) else items

    def _dict(self, kind: inspect.Type, item: inspect.Type, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self.report.error(path, value, describe(kind))
        items = {str(key): self.convert(item, each, f"{path}.{key}") for key, each in value.items()}
        return INVALID if any(each is INVALID for each in items.values()) else items

    def _struct(self, kind: inspect.StructType, value: Any, path: str, default: Any) -> Any:
        if not isinstance(value, dict):
            return self.report.error(path, value, describe(kind))
        names = [each.encode_name for each in kind.fields]
        for key in value:
            if key not in names:
                hint = suggestion(str(key), names) or f" Known here: {', '.join(names)}."
                self.report.warnings.append(Problem(f"{path}.{key}", f"this key is not known.{hint}"))
        fields: dict[str, Any] = {}
        for each in kind.fields:
            inherited = getattr(default, each.name) if isinstance(default, Struct) else _default(each)
            if value.get(each.encode_name) is not None:
                inner = f"{path}.{each.encode_name}"
                fields[each.name] = self.convert(each.type, value[each.encode_name], inner, inherited)
            elif inherited is not NODEFAULT:
                fields[each.name] = inherited
            else:
                self.report.errors.append(Problem(path, f'the key "{each.encode_name}" is missing'))
                fields[each.name] = INVALID
        return INVALID if any(each is INVALID for each in fields.values()) else kind.cls(**fields)


def _default(of: inspect.Field) -> Any:
    return of.default_factory() if of.default_factory is not NODEFAULT else of.default


def _is_leaf(kind: inspect.Type, value: Any) -> bool:
    match kind:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.LiteralType(values=values):
            return isinstance(value, str | int) and value in values
        case inspect.IntType(ge=low, le=high):
            is_number = isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType(ge=low, le=high):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            raise AssertionError(f"no conversion for {kind}")
    return is_number and (low is None or value >= low) and (high is None or value <= high)
