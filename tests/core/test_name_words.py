"""The words by which people are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.name_words import (
    MAX_SEARCHED,
    MAX_WORD_BYTES,
    MAX_WORDS,
    folded,
    range_of,
    searched_words,
    words_of,
)

NAMES = st.text(max_size=60)


def finds(term: str, user_id: str, name: str | None) -> bool:
    words = words_of(user_id, name)
    return all(any(low <= word < high for word in words) for low, high in map(range_of, searched_words(term)))


@pytest.mark.parametrize(
    ("term", "is_found"),
    [
        ("ali", True),
        ("ALICE", True),
        ("wonder", True),
        ("alice wonderland", True),
        ("wonderland alice", True),
        ("strasse", True),
        ("Straße", True),
        ("andre", True),
        ("ANDRÉ", True),
        ("@alice.l", True),
        ("alice.liddell-1:exa", True),
        ("@ALICE.liddell-1:example.org", True),
        ("liddell", True),
        ("liddell-1", True),
        ("example.org", False),
        ("lice", False),
        ("alice bob", False),
        ("@liddell:", False),
        ("andré: alice", True),
        ("(straße)", True),
        ("@", True),
    ],
)
def test_words(term: str, is_found: bool) -> None:
    assert finds(term, "@alice.liddell-1:example.org", "Alice André Wonderland (Straße)") is is_found


@pytest.mark.parametrize(
    ("term", "name"), [("太郎", "山田太郎"), ("สวัส", "คุณสวัสดี"), ("ПУШ", "Александр Пушкин"), ("ｶﾅ", "カナ")]
)
def test_other_scripts(term: str, name: str) -> None:
    assert finds(term, "@x:test", name)


@given(NAMES, st.integers(0, 20), st.integers(1, 20))
def test_every_beginning_of_a_word_finds(name: str, start: int, length: int) -> None:
    words = [word for word in folded(name).split() if word.isalnum() and len(word.encode()) <= 200]
    if words:
        word = words[start % len(words)]
        assert finds(word[:length], "@x:test", name)


@given(NAMES)
def test_a_whole_name_finds(name: str) -> None:
    assert finds(name, "@x:test", name) or any(":" in part or "@" in part for part in folded(name).split())


@pytest.mark.parametrize("name", ["a:b", "Bob: builder", "@bob", "x:y:z", "::", "a@b"])
def test_names_that_look_like_user_ids(name: str) -> None:
    assert finds(name, "@x:test", name)


@given(st.text(), st.text())
def test_limits(user_id: str, name: str) -> None:
    words = words_of(user_id, name)
    assert len(words) <= MAX_WORDS and all(len(word) <= MAX_WORD_BYTES for word in words)
    assert len(searched_words(name)) <= MAX_SEARCHED


def test_long_texts() -> None:
    assert len(words_of("@x:test", "".join(map(chr, range(0x4E00, 0x5E00))))) == MAX_WORDS
    assert all(word.decode() for word in words_of("@x:test", "ü" * 1000))
    assert len(searched_words("ü" * 1000)[0]) <= MAX_WORD_BYTES


@given(st.binary(min_size=1, max_size=4).filter(lambda each: each[-1] < 255), st.binary(max_size=3))
def test_ranges(prefix: bytes, rest: bytes) -> None:
    low, high = range_of(prefix)
    assert low <= prefix + rest < high
