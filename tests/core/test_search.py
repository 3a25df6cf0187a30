"""Words, phrases and highlights of full-text search."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.search import (
    MAX_PHRASES,
    MAX_WORD_LENGTH,
    MAX_WORDS,
    highlights,
    parse_search_term,
    searched_text,
    types_of,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("Meetings", [("meet",)]),
        ('a "quoted phrase" b', [("a",), ("quot", "phrase"), ("b",)]),
        ('an "open quote', [("an",), ("open", "quot")]),
        ("example.org foo_bar", [("exampl", "org"), ("foo", "bar")]),
        ("東京都", [("東", "京", "都")]),
        ("ไทย", [("ไ", "ท", "ย")]),
        ("हिन्दी 한국어", [("हिन्दी",), ("한국어",)]),
        ("ＡＢＣ Straße CAFÉ cafe\u0301", [("abc",), ("strass",), ("cafe",)]),
        ("שָׁלוֹם", [("שלום",)]),
        ("twice TWICE", [("twice",)]),
        ('"" \0 -&|', []),
        ("", []),
    ],
)
def test_a_search_term_is_phrases(text: str, phrases: list[tuple[str, ...]]) -> None:
    assert list(parse_search_term(text).phrases) == phrases


@given(st.text(max_size=300))
def test_any_text_is_words_that_the_databases_take_as_they_are(text: str) -> None:
    words = words_of(text)
    for word in words:
        assert 0 < len(word) <= MAX_WORD_LENGTH + 1
        assert all(character.isalnum() or not character.isascii() for character in word)
        assert not any(character.isspace() for character in word)
    # What a text is searched by finds it.
    found = {word for phrase in parse_search_term(text.replace('"', " ")).phrases for word in phrase}
    assert found <= set(words) or len(words) > MAX_PHRASES


def test_there_are_limits() -> None:
    assert len(words_of("a " * 50_000)) == MAX_WORDS
    assert words_of("b" * 1_000) == ["b" * MAX_WORD_LENGTH]
    assert len(parse_search_term(" ".join(f"w{number}" for number in range(1_000))).phrases) == MAX_PHRASES


@pytest.mark.parametrize(
    ("event_type", "content", "text"),
    [
        ("m.room.message", {"body": "hello", "topic": "no"}, "hello"),
        ("m.room.message", {"body": 1}, ""),
        ("m.room.name", {"name": "Room"}, "Room"),
        ("m.room.topic", {"topic": "Topic"}, "Topic"),
        ("m.room.topic", {"topic": "Topic", "m.topic": {"m.text": [{"body": "Topic"}]}}, "Topic"),
        (
            "m.room.topic",
            {
                "topic": "old",
                "m.topic": {"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": "new"}]},
            },
            "old\nnew",
        ),
        ("m.room.topic", {"m.topic": {"m.text": "no list"}}, ""),
        ("m.room.topic", {"m.topic": [1]}, ""),
        ("m.room.encrypted", {"body": "no"}, ""),
    ],
)
def test_what_is_searched_of_an_event(event_type: str, content: dict[str, Any], text: str) -> None:
    assert searched_text(event_type, content).strip() == text


def test_highlights_are_the_words_as_they_are_written() -> None:
    term = parse_search_term('meeting cafe "東京"')
    assert highlights(term, ["We had Meetings at the CAFÉ in 東京都."]) == ["café", "meetings", "京", "東"]
    assert highlights(term, []) == []


def test_keys_are_of_types() -> None:
    assert types_of(None) == ["m.room.message", "m.room.name", "m.room.topic"]
    assert types_of(["content.topic"]) == ["m.room.topic"]
    assert types_of([]) == []
