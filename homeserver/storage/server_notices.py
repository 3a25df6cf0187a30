"""The rooms in which the server tells users something.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from __future__ import annotations

from homeserver.storage.database import Transaction


async def room_of(tx: Transaction, user_id: str) -> str | None:
    """The ID of the user's server notices room, if it has been made."""
    room_id: str | None = await tx.fetch_value(
        "SELECT room_id FROM server_notice_rooms WHERE user_id = $1", user_id
    )
    return room_id


async def set_room(tx: Transaction, user_id: str, room_id: str) -> None:
    """Note the user's server notices room."""
    await tx.execute(
        "INSERT INTO server_notice_rooms (user_id, room_id) VALUES ($1, $2)"
        " ON CONFLICT (user_id) DO UPDATE SET room_id = excluded.room_id",
        user_id,
        room_id,
    )
