"""The presence of users, as it last changed.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.core.presence import PresenceState
from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredPresence:
    """A user's presence. position: of its last change."""

    user_id: str
    state: PresenceState
    position: int


_COLUMNS = "p.user_id, p.presence, p.status_msg, p.last_active_ms, p.currently_active, p.position"


def _presence(row: Row) -> StoredPresence:
    return StoredPresence(row[0], PresenceState(row[1], row[2], row[3], bool(row[4])), row[5])


async def get_many(tx: Transaction, user_ids: Collection[str]) -> dict[str, PresenceState]:
    """The presence of users; those of whom nothing is known are left out."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM presence p WHERE p.user_id = ANY($1)", list(user_ids))
    return {stored.user_id: stored.state for stored in map(_presence, rows)}


async def put_many(tx: Transaction, states: Mapping[str, PresenceState], position: int) -> None:
    """Keep the presence of users, in place of what there was."""
    await tx.execute_many(
        "INSERT INTO presence (user_id, presence, status_msg, last_active_ms, currently_active, position)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO UPDATE SET presence = excluded.presence,"
        " status_msg = excluded.status_msg, last_active_ms = excluded.last_active_ms,"
        " currently_active = excluded.currently_active, position = excluded.position",
        [
            (
                user_id,
                state.presence,
                state.status_msg,
                state.last_active_ms,
                state.currently_active,
                position,
            )
            for user_id, state in states.items()
        ],
    )


async def not_offline(tx: Transaction) -> dict[str, PresenceState]:
    """All who are not offline."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM presence p WHERE p.presence <> 'offline'")
    return {stored.user_id: stored.state for stored in map(_presence, rows)}


async def changed_for(
    tx: Transaction, user_id: str, server_name: str, after: int, limit: int
) -> list[StoredPresence]:
    """What has changed since a position for a user of the server `server_name`: of those who share a room, and the user's own.

    In the order of the changes; of all changes at most the newest `limit` are looked at.
    """
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM (SELECT * FROM presence WHERE position > $1 ORDER BY position DESC LIMIT $2) p"
        " WHERE p.user_id = $3 OR EXISTS (SELECT 1 FROM memberships theirs JOIN memberships mine"
        " ON mine.room_nid = theirs.room_nid AND mine.server = $4 AND mine.user_id = $3 AND mine.membership = 'join'"
        " WHERE theirs.user_id = p.user_id AND theirs.membership = 'join') ORDER BY p.position",
        after,
        limit,
        user_id,
        server_name,
    )
    return [_presence(row) for row in rows]


async def of_rooms(
    tx: Transaction, user_id: str, room_nids: Collection[int], limit: int, *, with_offline: bool
) -> list[StoredPresence]:
    """The user's own presence, and those of the members of rooms: the `limit` that changed last, in the order of the changes.

    with_offline: also of those who are offline.
    """
    condition = "" if with_offline else " AND p.presence <> 'offline'"
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM presence p WHERE p.user_id = $1{condition}"
        f" UNION SELECT {_COLUMNS} FROM memberships m JOIN presence p ON p.user_id = m.user_id"
        f" WHERE m.room_nid = ANY($2) AND m.membership = 'join'{condition}"
        " ORDER BY position DESC LIMIT $3",
        user_id,
        list(room_nids),
        limit,
    )
    return [_presence(row) for row in reversed(rows)]


async def rooms_of(tx: Transaction, user_ids: Collection[str]) -> list[str]:
    """The IDs of the rooms that any of these users is joined to."""
    rows = await tx.fetch(
        "SELECT DISTINCT r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid"
        " WHERE m.user_id = ANY($1) AND m.membership = 'join'",
        list(user_ids),
    )
    return [row[0] for row in rows]


async def servers_of(tx: Transaction, user_ids: Collection[str], limit: int) -> dict[str, list[str]]:
    """The servers that share rooms with each of these users: of very many the `limit` that share the most."""
    rows = await tx.fetch(
        "SELECT user_id, server FROM (SELECT m.user_id AS user_id, s.server AS server, ROW_NUMBER() OVER"
        " (PARTITION BY m.user_id ORDER BY COUNT(*) DESC, s.server) AS place FROM memberships m"
        " JOIN room_servers s ON s.room_nid = m.room_nid AND s.joined > 0"
        " WHERE m.user_id = ANY($1) AND m.membership = 'join' GROUP BY m.user_id, s.server) shared WHERE place <= $2",
        list(user_ids),
        limit,
    )
    found: dict[str, list[str]] = {}
    for user_id, server in rows:
        found.setdefault(user_id, []).append(server)
    return found


async def known_to(tx: Transaction, user_ids: Collection[str], server_name: str) -> set[str]:
    """Those of these users who are in a room with a user of the server `server_name`."""
    rows = await tx.fetch(
        "SELECT DISTINCT m.user_id FROM memberships m JOIN room_servers s ON s.room_nid = m.room_nid"
        " AND s.server = $2 AND s.joined > 0 WHERE m.user_id = ANY($1) AND m.membership = 'join'",
        list(user_ids),
        server_name,
    )
    return {row[0] for row in rows}
