"""Full-text search: which text of an event is searched, how it falls into words, and what a search term asks for.

A word of the index is folded (case, accents, width) and has lost its English ending. Scripts that put no spaces between words are
taken character by character, and what a person types in one piece has to stand in one piece: so `東京` finds both characters side
by side, and `example.org` both of its parts.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from homeserver.core.stemming import stem
from homeserver.core.topics import plain_topic

BODY: Final = "content.body"
NAME: Final = "content.name"
TOPIC: Final = "content.topic"

SEARCHED_TYPES: Final[Mapping[str, str]] = {
    BODY: "m.room.message",
    NAME: "m.room.name",
    TOPIC: "m.room.topic",
}
"""The keys that can be searched, each with the event type in which it is."""

MAX_WORDS: Final = 8_000
"""Of one event."""

MAX_WORD_LENGTH: Final = 40
"""What is longer is no word of a language: it is cut, in the index and in what is searched."""

MAX_PHRASES: Final = 32
"""Of a search term; what comes later is not looked at."""

_QUOTED_OR_NOT = re.compile(r'"([^"]*)"?|([^\s"]+)')
_ASCII_WORD = re.compile("[a-z0-9]+", re.IGNORECASE)
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts without spaces, as far as a character of them says something: Thai, Lao, Burmese, Khmer, kana, Han."""

Phrase = tuple[str, ...]
"""Words that stand side by side, in this order; one word is a phrase too."""


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """What a person searches for. phrases: all of them must be in what is found."""

    phrases: tuple[Phrase, ...]


def parse_search_term(text: str) -> SearchTerm:
    """Everything between double quotes and everything between spaces is a phrase. Any text is a search term; it may be empty."""
    pieces = (quoted or plain for quoted, plain in _QUOTED_OR_NOT.findall(text))
    phrases = dict.fromkeys(tuple(words_of(piece)) for piece in pieces)
    return SearchTerm(tuple(phrase for phrase in phrases if phrase)[:MAX_PHRASES])


def words_of(text: str) -> list[str]:
    """The words of a text as they stand in the index, in their order, at most MAX_WORDS."""
    return [stem(word[:MAX_WORD_LENGTH]) for word in _split(_folded(text))[:MAX_WORDS]]


def searched_text(event_type: str, content: Mapping[str, Any]) -> str:
    """The text of an event that searches look through; empty for most events."""
    if event_type == SEARCHED_TYPES[BODY]:
        return _text(content.get("body"))
    if event_type == SEARCHED_TYPES[NAME]:
        return _text(content.get("name"))
    if event_type == SEARCHED_TYPES[TOPIC]:
        # "content.topic as well as the body of the text/plain representation in content['m.topic']"
        topic, plain = _text(content.get("topic")), plain_topic(content)
        return topic if plain == topic else f"{topic}\n{plain}"
    return ""


def highlights(term: SearchTerm, texts: Iterable[str]) -> list[str]:
    """The words of these texts that a search has found, as they are written there but in lower case; sorted."""
    wanted = {word for phrase in term.phrases for word in phrase}
    written = {word.lower() for text in texts for word in _split(text)[:MAX_WORDS]}
    return sorted(word for word in written if not wanted.isdisjoint(words_of(word)))


def types_of(keys: Collection[str] | None) -> list[str]:
    """The event types in which these keys are; None: all keys."""
    return [kind for key, kind in SEARCHED_TYPES.items() if keys is None or key in keys]


def _split(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return "".join(map(_spaced, text)).split()


@lru_cache(8_192)
def _spaced(character: str) -> str:
    """A character as it is parted from others by spaces: letters, figures and the marks on them make words."""
    if unicodedata.category(character)[0] not in "LNM":
        return " "
    return f" {character} " if _WITHOUT_SPACES.match(character) else character


def _folded(text: str) -> str:
    """Without differences of case, width and accents."""
    if text.isascii():
        return text.lower()
    # Casefolding can bring accents back.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", "".join(kept for kept in decomposed if not _is_accent(kept)))


@lru_cache(8_192)
def _is_accent(character: str) -> bool:
    """Whether it is a mark that people may leave out: those above and below, and the points of Hebrew and Arabic.

    The marks of Indic scripts, Thai and kana, which have other combining classes, make other words.
    """
    combining = unicodedata.combining(character)
    return 10 <= combining <= 35 or combining >= 200


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
