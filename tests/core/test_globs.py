"""Glob-style patterns: whole values, and parts between word boundaries."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.globs import glob_matches, glob_matches_words, words_occur


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        # The examples of the specification.
        ("lunc?*", "Lunch plans", True),
        ("lunc?*", "LUNCH", True),
        ("lunc?*", " lunch", False),
        ("lunc?*", "lunc", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "a\nb", True),
        ("?", "", False),
        ("?", "\n", True),
        ("?", "ab", False),
        ("a*", "ba", False),
        ("*a", "ab", False),
        ("a*b*c", "a-b-b-c", True),
        ("a**c", "abc", True),
        ("a*a", "a", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("[ab]", "[AB]", True),
        ("ÄPFEL", "äpfel", True),
    ],
)
def test_whole_values(pattern: str, text: str, expected: bool) -> None:
    assert glob_matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        # The examples of the specification.
        ("ex*ple", "An example event.", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "An exciting triple-whammy", True),
        ("cake", "cake", True),
        ("cake", "CAKE!", True),
        ("cake", "a cake, please", True),
        ("cake", "cakes", False),
        ("cake", "pancake", False),
        ("cake", "pan_cake", False),
        ("cake", "7cake", False),
        ("cake", "pancake cake", True),
        ("cake", "kuchen-cake", True),
        ("cake", "écakeé", True),
        ("cake*lie", "the cake is a lie.", True),
        ("cake*lie", "the cake is a lied", False),
        ("cake*lie", "pancakes and cake and a lie", True),
        ("*cake*", "pancakes", True),
        ("c?ke", "c\nke", True),
        ("?", "a b", True),
        ("?", "ab", False),
        ("@room", "hello @room", True),
        ("@room", "hello@room", False),
        ("c.ke", "cake", False),
        ("", "", True),
        ("*", "anything", True),
    ],
)
def test_parts_between_word_boundaries(pattern: str, text: str, expected: bool) -> None:
    assert glob_matches_words(pattern, text) is expected


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("Alice", "hi alice!", True),
        ("Alice", "malice", False),
        ("Alice M.", "alice m. said", True),
        ("a*e", "alice", False),
        ("a*e", "an a*e", True),
        ("?", "x", False),
    ],
)
def test_words_are_literal(words: str, text: str, expected: bool) -> None:
    assert words_occur(words, text) is expected


SHORT = st.text("ab_ *?", max_size=8)
BODY = st.text("ab_ -", max_size=12)


def _expression(pattern: str) -> str:
    pieces = {"*": ".*", "?": "."}
    return "".join(pieces.get(character) or re.escape(character) for character in pattern)


@given(SHORT, BODY)
def test_it_is_what_a_regular_expression_says(pattern: str, text: str) -> None:
    expression = _expression(pattern)
    assert glob_matches(pattern, text) == bool(re.fullmatch(expression, text, re.DOTALL))
    word = "[A-Za-z0-9_]"
    by_words = re.search(f"(?<!{word}){expression}(?!{word})", text, re.DOTALL)
    assert glob_matches_words(pattern, text) == bool(by_words)


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "?" * 250 + "b", "a" * 250 + "b"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    began = time.perf_counter()
    assert not glob_matches(pattern, "a" * 60_000)
    assert not glob_matches_words(pattern, "a " * 30_000)
    assert time.perf_counter() - began < 5
