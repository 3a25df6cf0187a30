"""Servers whose last member in a room is none any more because states were resolved, and not because an event says so.

Nobody sends them an event that tells them, so they may go on believing that they are in the room. They are told of the graph's
ends, and then of an event that joins these; and they may ask for what lies before.
"""

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Expelled:
    """position: where the stream stood when a server was put out. told_position: that of the event that joins the ends, which it
    was sent; None before that."""

    position: int
    told_position: int | None


async def put(tx: Transaction, room_nid: int, servers: Collection[str], position: int) -> None:
    """Note that servers were put out of the room by what was stored up to a position of the stream."""
    await tx.execute_many(
        "INSERT INTO expelled_servers (room_nid, server, position) VALUES ($1, $2, $3)"
        " ON CONFLICT (room_nid, server) DO UPDATE SET position = excluded.position, told_position = NULL",
        [(room_nid, server, position) for server in servers],
    )


async def remove(tx: Transaction, room_nid: int, servers: Collection[str]) -> None:
    """Forget of servers, because they are in the room again."""
    await tx.execute(
        "DELETE FROM expelled_servers WHERE room_nid = $1 AND server = ANY($2)", room_nid, list(servers)
    )


async def get(tx: Transaction, room_nid: int, server: str) -> Expelled | None:
    """What a server may know of the room; None for one that was not put out of it so."""
    row = await tx.fetch_one(
        "SELECT position, told_position FROM expelled_servers WHERE room_nid = $1 AND server = $2",
        room_nid,
        server,
    )
    return Expelled(row[0], row[1]) if row else None


async def untold(tx: Transaction, room_nid: int) -> list[str]:
    """The servers that have not been sent an event that joins the ends."""
    rows = await tx.fetch(
        "SELECT server FROM expelled_servers WHERE room_nid = $1 AND told_position IS NULL ORDER BY server",
        room_nid,
    )
    return [row[0] for row in rows]


async def rooms_untold(tx: Transaction) -> list[str]:
    """The rooms that have such servers: read once after a start, and after a failure. The table is small."""
    rows = await tx.fetch(
        "SELECT DISTINCT rooms.room_id FROM expelled_servers JOIN rooms ON rooms.room_nid = expelled_servers.room_nid"
        " WHERE expelled_servers.told_position IS NULL ORDER BY rooms.room_id"
    )
    return [row[0] for row in rows]


async def set_told(tx: Transaction, room_nid: int, position: int) -> None:
    """Note that all of the room's are sent an event that joins the ends."""
    await tx.execute(
        "UPDATE expelled_servers SET told_position = $1 WHERE room_nid = $2 AND told_position IS NULL",
        position,
        room_nid,
    )
