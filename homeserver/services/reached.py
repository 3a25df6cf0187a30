"""Tokens that name a position of the stream: whether this server has reached it."""

from homeserver.core.errors import invalid_param
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
