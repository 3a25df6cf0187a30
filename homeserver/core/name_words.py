"""The words by which people are found when somebody searches for them.

Words are compared by the bytes of their UTF-8, so that both databases find those that begin with a text by the same range.
Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_WORDS: Final = 60
MAX_WORD_BYTES: Final = 255
MAX_NAME_LENGTH: Final = 256
MAX_SEARCHED: Final = 6
"""How many words of what is searched for count."""

_USER_ID = re.compile(r"@[^@]|[^:]+:[^:]")
_WORD = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """The text without what case and ways of writing the same make of it: NFKC, case folded, without accents.

    >>> folded("ÉCOLE Straße ﬁ")
    'ecole strasse fi'
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", "".join(each for each in decomposed if not _is_accent(each)))


def words_of(user_id: str, display_name: str | None) -> frozenset[bytes]:
    """The words by which a user is found: those of the name and of the localpart, and the whole user ID without its sigil.

    Where a script puts no spaces between words, every end of a word is one too.
    """
    whole = folded(user_id.removeprefix("@"))
    found = dict.fromkeys([whole, *_WORD.findall(whole.partition(":")[0])])
    name = folded((display_name or "")[:MAX_NAME_LENGTH])
    found.update(dict.fromkeys(part for part in name.split() if ":" in part))
    for word in _WORD.findall(name):
        found.setdefault(word)
        if any(_is_unspaced(each) for each in word):
            found.update(dict.fromkeys(word[start:] for start in range(1, len(word))))
    return frozenset(_encoded(word) for word in list(found)[:MAX_WORDS])


def searched_words(term: str) -> list[bytes]:
    """The words that somebody has to have, each at least the beginning of one of theirs; the longest first.

    A part that begins with an @, or has a colon in it, is taken as (the beginning of) a user ID.
    """
    found: dict[str, None] = {}
    for part in folded(term).split():
        if _USER_ID.match(part):
            found.setdefault(part.removeprefix("@"))
        else:
            found.update(dict.fromkeys(_WORD.findall(part)))
    words = sorted((word for word in found if word), key=lambda word: (-len(word), word))
    return [_encoded(word) for word in words[:MAX_SEARCHED]]


def range_of(prefix: bytes) -> tuple[bytes, bytes]:
    """From where to before where the words stand that begin with a text, which is not empty.

    UTF-8 has no byte 255, so there is always a next one.
    """
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])


def _encoded(word: str) -> bytes:
    encoded = word.encode()
    if len(encoded) <= MAX_WORD_BYTES:
        return encoded
    return encoded[:MAX_WORD_BYTES].decode(errors="ignore").encode()


def _is_accent(character: str) -> bool:
    """Whether it is a mark on a letter of the scripts where people leave it out when they type: Latin, Greek, Cyrillic."""
    return "\u0300" <= character <= "\u036f"


def _is_unspaced(character: str) -> bool:
    """Whether it is of Thai, Lao, Khmer, Burmese, Chinese, Japanese."""
    return (
        "\u0e00" <= character <= "\u0eff"
        or "\u1000" <= character <= "\u109f"
        or "\u1780" <= character <= "\u17ff"
        or "\u3040" <= character <= "\u30ff"
        or "\u3400" <= character <= "\u9fff"
        or "\U00020000" <= character <= "\U0003ffff"
    )
