"""Reading a large JSON object piece by piece: the entries of its lists are handed over one by one, so that neither the text nor
all of its values are ever held at once. Pure: the caller brings the bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError, decode_json_at

MAX_VALUE: Final = 4 * 1024 * 1024
"""Characters of a single value: an entry of a list, or the value of another key."""

_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER_VALUE: Final = frozenset(" \t\n\r,:]}")
_Steps = Generator[None, None, Any]


class NotAnObject(CanonicalJSONError):
    """It begins as something else than the object that was expected."""


class JSONLists:
    """Reads one object: `feed` it, then `close`.

    Raises CanonicalJSONError from either, for what `decode_json` refuses and for a value over MAX_VALUE.
    """

    def __init__(self, take: Mapping[str, Callable[[Any], None]], *, in_pair: bool = False) -> None:
        """take: for each key whose value is a list, what takes its entries.

        in_pair: the object is the second entry of a list of two, as in `[200, {...}]`.
        """
        self._take = take
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._at = 0
        self._complete = False
        self._values: dict[str, Any] = {}
        self._steps = self._pair() if in_pair else self._object()
        self._done = False

    def feed(self, data: bytes) -> None:
        """Read on."""
        self._read(data, final=False)

    def close(self) -> dict[str, Any]:
        """The object without the entries that were handed over: their lists are empty. No more will come."""
        self._complete = True
        self._read(b"", final=True)
        if not self._done:
            raise CanonicalJSONError("not JSON: it ends too early")
        return self._values

    def _read(self, data: bytes, *, final: bool) -> None:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise CanonicalJSONError(f"not UTF-8: {error.reason}") from None
        self._text = self._text[self._at :] + text
        self._at = 0
        if not self._done:
            try:
                next(self._steps)
            except StopIteration:
                self._done = True
        if self._done and not _SPACE.fullmatch(self._text, self._at):
            raise CanonicalJSONError("not JSON: something follows after its end")

    def _pair(self) -> _Steps:
        if not (yield from self._skip("[")) or (yield from self._skip("]")):
            raise NotAnObject("it is not a list of two")
        yield from self._value()
        if not (yield from self._skip(",")):
            raise NotAnObject("it is not a list of two")
        yield from self._object()
        if not (yield from self._skip("]")):
            raise NotAnObject("it is not a list of two")

    def _object(self) -> _Steps:
        if not (yield from self._skip("{")):
            raise NotAnObject("it is not an object")
        if (yield from self._skip("}")):
            return
        while True:
            key = yield from self._value()
            if not isinstance(key, str):
                raise CanonicalJSONError("not JSON: a key of an object is not a string")
            if key in self._values:
                raise CanonicalJSONError(f"the key {key[:100]!r} occurs twice in an object")
            yield from self._expect(":")
            take = self._take.get(key)
            if take is not None and (yield from self._skip("[")):
                self._values[key] = []
                yield from self._entries(take)
            else:
                self._values[key] = yield from self._value()
            if (yield from self._skip("}")):
                return
            yield from self._expect(",")

    def _entries(self, take: Callable[[Any], None]) -> _Steps:
        if (yield from self._skip("]")):
            return
        while True:
            take((yield from self._value()))
            if (yield from self._skip("]")):
                return
            yield from self._expect(",")

    def _value(self) -> _Steps:
        """One value. Tried again when a good deal more has come, so that no pace of the sender costs more than time."""
        yield from self._next()
        tried = 0
        while True:
            available = len(self._text) - self._at
            if self._complete or available >= tried + max(1, tried // 2):
                found = decode_json_at(self._text, self._at)
                # A number may go on, with digits or with an exponent.
                if found is not None and (
                    self._complete or self._text[found[1] : found[1] + 1] in _AFTER_VALUE
                ):
                    value, self._at = found
                    return value
                if available > MAX_VALUE:
                    raise CanonicalJSONError(f"not JSON, or a single value of over {MAX_VALUE} characters")
                if self._complete:
                    raise CanonicalJSONError("not JSON, or it ends too early")
                tried = available
            yield

    def _next(self) -> Generator[None, None, str]:
        """The next character that is no space, which stays the next."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._complete:
                raise CanonicalJSONError("not JSON: it ends too early")
            yield

    def _skip(self, character: str) -> Generator[None, None, bool]:
        """Go past this character if it is the next."""
        if (yield from self._next()) != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> Generator[None, None, None]:
        if not (yield from self._skip(character)):
            found = self._text[self._at]
            raise CanonicalJSONError(f"not JSON: {character} was expected, not {found}")
