"""`event_fields` of a filter: which properties of events a client wants.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
"""

from collections.abc import Iterable, Mapping
from typing import Any


def split_path(path: str) -> list[str]:
    r"""The keys of a dot-separated property path; `\.` is a dot in a key and `\\` a backslash.

    Spec: https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
    """
    keys, key, is_escaped = [], "", False
    for character in path:
        if is_escaped:
            # "Other escape sequences are left as-is".
            key += character if character in ".\\" else "\\" + character
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == ".":
            keys.append(key)
            key = ""
        else:
            key += character
    return [*keys, key + "\\" if is_escaped else key]


def pick(event: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The event with those properties alone that the paths name; paths that lead nowhere are left out."""
    picked: dict[str, Any] = {}
    for path in paths:
        *parents, last = split_path(path)
        source: Any = event
        target = picked
        for key in parents:
            source = source.get(key) if isinstance(source, Mapping) else None
            if not isinstance(source, Mapping):
                break
        if not isinstance(source, Mapping) or last not in source:
            continue
        for key in parents:
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            target = inner
        target[last] = source[last]
    return picked
