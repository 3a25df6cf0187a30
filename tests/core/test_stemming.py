"""The Porter stemmer against another implementation of the same algorithm: SQLite's."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.stemming import stem

# The examples of the paper, and others.
# fmt: off
WORDS = [
    "caresses", "ponies", "ties", "caress", "cats", "feed", "agreed", "plastered", "bled", "motoring", "sing",
    "conflated", "troubled", "sized", "hopping", "tanned", "falling", "hissing", "fizzed", "failing", "filing", "happy",
    "sky", "relational", "conditional", "rational", "valenci", "hesitanci", "digitizer", "conformabli", "radicalli",
    "differentli", "vileli", "analogousli", "vietnamization", "predication", "operator", "feudalism", "decisiveness",
    "hopefulness", "callousness", "formaliti", "sensitiviti", "sensibiliti", "triplicate", "formative", "formalize",
    "electriciti", "electrical", "hopeful", "goodness", "revival", "allowance", "inference", "airliner", "gyroscopic",
    "adjustable", "defensible", "irritant", "replacement", "adjustment", "dependent", "adoption", "homologou",
    "communism", "activate", "angulariti", "homologous", "effective", "bowdlerize", "probate", "rate", "cease",
    "controll", "roll", "yyyy", "ion", "tion", "station", "nation", "meetings", "running", "archaeology", "buying",
    "eyed",
]
# fmt: on

ENDINGS = "s es ies ed eed ing y ational izer alism iveness biliti icate ative ful ness ement tion sion ous e l ll al er"


def of_sqlite(words: list[str]) -> list[str]:
    """What SQLite's tokenizer makes of the words."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5 (word, tokenize = 'porter ascii')")
    connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (texts, 'instance')")
    connection.executemany("INSERT INTO texts (rowid, word) VALUES (?, ?)", list(enumerate(words)))
    stems = dict(connection.execute("SELECT doc, term FROM terms"))
    return [stems[number] for number in range(len(words))]


def test_words() -> None:
    assert [stem(word) for word in WORDS] == of_sqlite(WORDS)


@given(
    st.lists(st.text("abeilnorsty", min_size=1, max_size=12), min_size=1), st.sampled_from(ENDINGS.split())
)
def test_any_words(beginnings: list[str], ending: str) -> None:
    # SQLite takes "eed" for more than an ending.
    words = [word for beginning in beginnings if (word := beginning + ending) != "eed"]
    assert [stem(word) for word in words] == of_sqlite(words)


def test_what_is_no_english_word_stays_as_it_is() -> None:
    for word in ("", "s", "is", "99s", "h2os", "straßes", "東京s"):
        assert stem(word) == word
