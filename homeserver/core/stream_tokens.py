"""The tokens with which clients say how far they have read.

`s<position>`: all that came up to a position of the stream (/sync); `s<position>_<typing>` for who was also told that users are
typing, up to a number that `services/typing_users.py` counts. `t<depth>_<position>`: a place in a room's history
(/messages), between events; `t<depth>_<position>_<until>` for who began reading at a position of the stream. All are opaque to
clients.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from homeserver.core.errors import invalid_param

_STREAM = re.compile(r"s(\d{1,18})(?:_(\d{1,18}))?")
_PLACE = re.compile(r"t(\d{1,19})_(-?\d{1,18})(?:_(\d{1,18}))?")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a room's history: events are paged by depth, and by position where depths are equal.

    until: who goes back from here began at this position of the stream, and was told by /sync of all that came later, however
    far back in the history it belongs; None: began nowhere in particular.
    """

    depth: int
    position: int
    until: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SyncToken:
    """How far a client has read with /sync. typing: what it knows of who is typing; None: to its knowledge nobody is."""

    position: int
    typing: int | None = None

    def __str__(self) -> str:
        return stream_token(self.position) + ("" if self.typing is None else f"_{self.typing}")


BEGINNING: Final = Place(0, -(10**17))
"""Before everything in a room's history."""


def newest_place(position: int) -> Place:
    """Where to begin to go back through all that came up to a position of the stream.

    That includes history which was fetched since, or is still to be fetched, however deep it is.
    """
    return Place(_LARGEST, 0, position)


def stream_token(position: int) -> str:
    """The token of a position of the stream."""
    return f"s{position}"


def place_token(place: Place) -> str:
    """The token of a place in a room's history."""
    token = f"t{place.depth}_{place.position}"
    return token if place.until is None else f"{token}_{place.until}"


def parse_sync_token(token: str) -> SyncToken:
    """A token of /sync. Raises M_INVALID_PARAM."""
    match = _STREAM.fullmatch(token)
    if not match:
        raise invalid_param(f"{token[:60]!r} is not a token that /sync of this server gave")
    return SyncToken(int(match[1]), int(match[2]) if match[2] else None)


def parse_stream_token(token: str) -> int:
    """The position that a token of /sync stands for. Raises M_INVALID_PARAM."""
    return parse_sync_token(token).position


def parse_token(token: str) -> Place | int:
    """A place, or the position of a token of /sync. Raises M_INVALID_PARAM."""
    match = _PLACE.fullmatch(token)
    if match and int(match[1]) <= _LARGEST:
        return Place(int(match[1]), int(match[2]), int(match[3]) if match[3] else None)
    if match or not _STREAM.fullmatch(token):
        raise invalid_param(f"{token[:60]!r} is not a token that this server gave")
    return parse_stream_token(token)
