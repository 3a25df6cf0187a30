"""The tokens with which clients say how far they have read.

`s<position>`: all that came up to a position of the stream (/sync). `t<depth>_<position>`: a place in a room's history
(/messages), between events. Both are opaque to clients.
"""

import re
from dataclasses import dataclass

from homeserver.core.errors import invalid_param

_STREAM = re.compile(r"s(\d{1,18})")
_PLACE = re.compile(r"t(\d{1,19})_(-?\d{1,18})")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a room's history: events are paged by depth, and by position where depths are equal."""

    depth: int
    position: int


def stream_token(position: int) -> str:
    """The token of a position of the stream."""
    return f"s{position}"


def place_token(place: Place) -> str:
    """The token of a place in a room's history."""
    return f"t{place.depth}_{place.position}"


def parse_stream_token(token: str) -> int:
    """The position that a token of /sync stands for. Raises M_INVALID_PARAM."""
    match = _STREAM.fullmatch(token)
    if not match:
        raise invalid_param(f"{token[:60]!r} is not a token that /sync of this server gave")
    return int(match[1])


def parse_token(token: str) -> Place | int:
    """A place, or the position of a token of /sync. Raises M_INVALID_PARAM."""
    match = _PLACE.fullmatch(token)
    if match and int(match[1]) <= _LARGEST:
        return Place(int(match[1]), int(match[2]))
    if match or not _STREAM.fullmatch(token):
        raise invalid_param(f"{token[:60]!r} is not a token that this server gave")
    return parse_stream_token(token)
