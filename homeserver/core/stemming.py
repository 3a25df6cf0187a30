"""The Porter stemmer: English words that differ in their endings alone become the same, so that "meetings" finds "meeting".

M. F. Porter, An algorithm for suffix stripping, 1980: https://tartarus.org/martin/PorterStemmer/def.txt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

SHORTEST = 3
"""Shorter words have no ending to lose."""

STEMS_KEPT = 20_000
"""People use few words often."""

_Rule = tuple[str, str]

_STEP_2: Sequence[_Rule] = (
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("logi", "log"),
)
_STEP_3: Sequence[_Rule] = (
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
)
_STEP_4: Sequence[_Rule] = tuple(
    (ending, "")
    for ending in (
        *("ement", "ance", "ence", "able", "ible", "ment", "sion", "tion", "ant", "ent", "ism", "ate"),
        *("iti", "ous", "ive", "ize", "al", "er", "ic", "ou"),
    )
)


@lru_cache(STEMS_KEPT)
def stem(word: str) -> str:
    """A lower-case word without its English ending. Words that are not of ASCII letters stay as they are."""
    if len(word) < SHORTEST or not (word.isascii() and word.isalpha()):
        return word
    word = _past_and_progressive(_plural(word))
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2, lambda rest: _measure(rest) > 0)
    word = _replaced(word, _STEP_3, lambda rest: _measure(rest) > 0)
    word = _without_suffix(word)
    if word.endswith("e"):
        rest = word[:-1]
        measure = _measure(rest)
        if measure > 1 or (measure == 1 and not _ends_short(rest)):
            word = rest
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_progressive(word: str) -> str:
    """Step 1b."""
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest == word:
            continue
        if not _has_vowel(rest):
            return word
        if rest.endswith(("at", "bl", "iz")):
            return rest + "e"
        if _ends_double(rest) and rest[-1] not in "lsz":
            return rest[:-1]
        return rest + "e" if _measure(rest) == 1 and _ends_short(rest) else rest
    return word


def _without_suffix(word: str) -> str:
    """Step 4; of -sion and -tion only -ion goes."""
    for ending, _ in _STEP_4:
        if word.endswith(ending):
            kept = 1 if ending in ("sion", "tion") else 0
            rest = word[: len(word) - len(ending) + kept]
            return rest if _measure(rest) > 1 else word
    return word


def _replaced(word: str, rules: Sequence[_Rule], allowed: Callable[[str], bool]) -> str:
    """The word with its longest ending of the rules replaced, if what is before it allows that."""
    for ending, replacement in rules:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            return rest + replacement if allowed(rest) else word
    return word


def _is_consonant(word: str, index: int) -> bool:
    if word[index] in "aeiou":
        return False
    return word[index] != "y" or index == 0 or not _is_consonant(word, index - 1)


def _measure(word: str) -> int:
    """How often a consonant follows a vowel."""
    kinds = [_is_consonant(word, index) for index in range(len(word))]
    return sum(not before and now for before, now in pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return not all(_is_consonant(word, index) for index in range(len(word)))


def _ends_double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _ends_short(word: str) -> bool:
    """Whether it ends with consonant, vowel, consonant, the last not w, x or y."""
    last = len(word) - 1
    return (
        last >= 2
        and _is_consonant(word, last)
        and not _is_consonant(word, last - 1)
        and _is_consonant(word, last - 2)
        and word[last] not in "wxy"
    )
