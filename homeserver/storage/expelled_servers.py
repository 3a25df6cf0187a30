"""Servers whose last member in a room is none any more because states were resolved, and not because an event says so.

Nobody sends them an event that tells them, so they may go on believing that they are in the room. They are told of the graph's
ends, and may ask for what lies before these: up to the position at which they were put out.
"""

from collections.abc import Collection

from homeserver.storage.database import Transaction


async def put(tx: Transaction, room_nid: int, servers: Collection[str], position: int) -> None:
    """Note that servers were put out of the room by what was stored up to a position of the stream."""
    await tx.execute_many(
        "INSERT INTO expelled_servers (room_nid, server, position) VALUES ($1, $2, $3)"
        " ON CONFLICT (room_nid, server) DO UPDATE SET position = excluded.position",
        [(room_nid, server, position) for server in servers],
    )


async def remove(tx: Transaction, room_nid: int, servers: Collection[str]) -> None:
    """Forget of servers, because they are in the room again."""
    await tx.execute(
        "DELETE FROM expelled_servers WHERE room_nid = $1 AND server = ANY($2)", room_nid, list(servers)
    )


async def position(tx: Transaction, room_nid: int, server: str) -> int | None:
    """The position up to which a server may know of the room; None for a server that was not put out of it so."""
    found = await tx.fetch_value(
        "SELECT position FROM expelled_servers WHERE room_nid = $1 AND server = $2", room_nid, server
    )
    return None if found is None else int(found)
