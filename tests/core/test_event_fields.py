"""`event_fields`: paths, and what they pick."""

from typing import Any

import pytest

from homeserver.core.event_fields import pick, split_path


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("content.body", ["content", "body"]),
        (r"content.m\.relates_to", ["content", "m.relates_to"]),
        (r"content.m\\foo", ["content", r"m\foo"]),
        (r"content.a\x", ["content", r"a\x"]),
        ("", [""]),
        (".", ["", ""]),
        ("a\\", ["a\\"]),
        (r"a\\.b", ["a\\", "b"]),
    ],
)
def test_paths_of_the_appendices(path: str, keys: list[str]) -> None:
    assert split_path(path) == keys


EVENT: dict[str, Any] = {"type": "x", "content": {"a": {"b": 1, "c": 2}, "": 3}, "n": None}


@pytest.mark.parametrize(
    ("paths", "picked"),
    [
        ((), {}),
        (("type", "n", "none"), {"type": "x", "n": None}),
        (("content.a.b",), {"content": {"a": {"b": 1}}}),
        (("content.a.b", "content.a"), {"content": {"a": {"b": 1, "c": 2}}}),
        (("content", "content.a.b"), {"content": EVENT["content"]}),
        (("type.x", "content.a.b.c", "content.z.y"), {}),
        (("content.",), {"content": {"": 3}}),
    ],
)
def test_what_is_picked(paths: tuple[str, ...], picked: dict[str, Any]) -> None:
    before = repr(EVENT)
    assert pick(EVENT, paths) == picked
    assert repr(EVENT) == before
