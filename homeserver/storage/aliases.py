"""Room aliases of this server.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias, the room it names, and who made it."""

    alias: str
    room_id: str
    creator: str


async def get(tx: Transaction, alias: str) -> Alias | None:
    """The alias, or None when this server has no such alias."""
    row = await tx.fetch_one("SELECT alias, room_id, creator FROM room_aliases WHERE alias = $1", alias)
    return Alias(row[0], row[1], row[2]) if row else None


async def add(tx: Transaction, alias: Alias, now_ms: int) -> bool:
    """Make an alias; False when it exists already."""
    added = await tx.execute(
        "INSERT INTO room_aliases (alias, room_id, creator, created_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        alias.alias,
        alias.room_id,
        alias.creator,
        now_ms,
    )
    return added == 1


async def remove(tx: Transaction, alias: str) -> None:
    """Delete an alias."""
    await tx.execute("DELETE FROM room_aliases WHERE alias = $1", alias)


async def of_room(tx: Transaction, room_id: str) -> list[str]:
    """The aliases of this server that name the room, oldest first."""
    rows = await tx.fetch(
        "SELECT alias FROM room_aliases WHERE room_id = $1 ORDER BY created_ms, alias", room_id
    )
    return [row[0] for row in rows]


async def move(tx: Transaction, old_room_id: str, new_room_id: str) -> None:
    """Let all aliases of a room name another."""
    await tx.execute("UPDATE room_aliases SET room_id = $1 WHERE room_id = $2", new_room_id, old_room_id)
