"""Tokens that clients give: whether this server has reached the position they name, and which place of a room's history that is."""

from homeserver.core.errors import invalid_param
from homeserver.core.stream_tokens import Place, newest_place, parse_token
from homeserver.storage import events as stored_events
from homeserver.storage import positions
from homeserver.storage.database import Transaction


async def check_reached(tx: Transaction, position: int | None) -> int:
    """Where the stream stands. Raises M_INVALID_PARAM when that is before the `position` of a token."""
    now = await positions.current(tx)
    if position is not None and position > now:
        raise invalid_param(
            "The token is newer than anything on this server (was its database restored from a backup?):"
            " begin again without it"
        )
    return now


async def place_of(tx: Transaction, room_nid: int, token: str) -> Place:
    """The place in a room's history that a token names. Raises M_INVALID_PARAM."""
    place = parse_token(token)
    if isinstance(place, Place):
        return place
    await check_reached(tx, place)
    return await stored_events.place_at_position(tx, room_nid, place)


async def first_place(tx: Transaction, room_nid: int, token: str, *, backwards: bool) -> Place:
    """Where one begins to read who gives a token as `from`. Raises M_INVALID_PARAM."""
    position = parse_token(token)
    if backwards and not isinstance(position, Place):
        await check_reached(tx, position)
        return newest_place(position)
    return await place_of(tx, room_nid, token)
