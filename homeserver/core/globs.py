"""Glob-style patterns of push rules: `*` stands for any characters, `?` for exactly one.

A pattern of many `*` costs no more than another of its length: every part between them is taken at its first place, which is
enough, and nothing is tried again. So the most a match costs is the pattern's length times the text's.

Spec: https://spec.matrix.org/v1.19/appendices/#glob-style-matching
"""

from __future__ import annotations

import re
from functools import lru_cache

_AFTER_BOUNDARY = "(?<![A-Za-z0-9_])"
_BEFORE_BOUNDARY = "(?![A-Za-z0-9_])"


def glob_matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole text; case does not matter."""
    if "*" not in pattern and "?" not in pattern:
        return pattern.lower() == text.lower()
    return _are_found(_compiled(pattern.lower(), False), text.lower(), anchored=True)


def glob_matches_words(pattern: str, text: str) -> bool:
    """Whether the pattern matches a part of the text that starts and ends at a word boundary; case does not matter.

    "A word boundary is defined as the start or end of the value, or any character not in the sets [A-Z], [a-z], [0-9] or _."

    Spec: https://spec.matrix.org/v1.19/client-server-api/#conditions-1
    """
    return _are_found(_compiled(pattern.lower(), True), text.lower(), anchored=False)


def words_occur(words: str, text: str) -> bool:
    """Whether the text has these words, literally, between word boundaries; case does not matter."""
    found = re.escape(words.lower())
    return re.search(_AFTER_BOUNDARY + found + _BEFORE_BOUNDARY, text.lower()) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str, by_words: bool) -> tuple[re.Pattern[str], ...]:
    """The parts between the `*`: none of them repeats anything, so each is found in one go."""
    parts = [
        "".join("." if character == "?" else re.escape(character) for character in part)
        for part in re.split(r"\*+", pattern)
    ]
    if by_words:
        parts[0] = _AFTER_BOUNDARY + parts[0]
        parts[-1] += _BEFORE_BOUNDARY
    else:
        parts[-1] += r"\Z"
    return tuple(re.compile(part, re.DOTALL) for part in parts)


def _are_found(parts: tuple[re.Pattern[str], ...], text: str, *, anchored: bool) -> bool:
    """Whether the parts stand in the text one after the other; `anchored`: the first of them at its start."""
    first, *others = parts
    found = first.match(text) if anchored else first.search(text)
    for part in others:
        if found is None:
            return False
        found = part.search(text, found.end())
    return found is not None
