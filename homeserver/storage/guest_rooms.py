"""Rooms whose guest access has changed, and the guests of ours in a room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from __future__ import annotations

from homeserver.storage.database import Transaction


async def mark(tx: Transaction, room_nid: int) -> None:
    """A room's guest access has changed."""
    await tx.execute(
        "INSERT INTO guest_rooms_changed (room_nid, change) VALUES ($1, 0)"
        " ON CONFLICT (room_nid) DO UPDATE SET change = guest_rooms_changed.change + 1",
        room_nid,
    )


async def next_marked(tx: Transaction) -> tuple[int, int] | None:
    """A room to look at, with the number of the change that is seen so."""
    row = await tx.fetch_one("SELECT room_nid, change FROM guest_rooms_changed LIMIT 1")
    return (row[0], row[1]) if row else None


async def unmark(tx: Transaction, room_nid: int, change: int) -> None:
    """The room has been looked at, as it was when it was read."""
    await tx.execute("DELETE FROM guest_rooms_changed WHERE room_nid = $1 AND change = $2", room_nid, change)


async def guests_in(tx: Transaction, room_nid: int, server_name: str, limit: int) -> list[str]:
    """Some of the guests of ours who are joined to a room."""
    rows = await tx.fetch(
        "SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id"
        " WHERE m.room_nid = $1 AND m.server = $2 AND m.membership = 'join' AND u.is_guest"
        " ORDER BY m.user_id LIMIT $3",
        room_nid,
        server_name,
        limit,
    )
    return [row[0] for row in rows]
