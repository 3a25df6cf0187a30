"""Memberships of our users in rooms whose graph does not tell us of them: invites and knocks from outside, and what ended them.

They hold until the room's graph knows better: as soon as it has the event itself, or a later membership of the user. All
functions that read leave out what no longer holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.events import Event, load_event
from homeserver.core.room_versions import rules_for
from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class OutOfRoom:
    """What a user of ours is in a room, as an event says that the room's graph does not have.

    membership: `invite`, `knock`, `leave` or `ban`. stripped_state: what is told of the room, as stripped state events.
    via: a server that is in the room. position: where the stream stood when it came into force.
    """

    user_id: str
    room_id: str
    membership: str
    event: Event
    stripped_state: Sequence[Mapping[str, Any]]
    via: str
    position: int
    forgotten: bool = False


_COLUMNS = (
    "o.user_id, o.room_id, o.membership, o.version, o.event_id, o.canonical, o.stripped_state, o.via, o.position,"
    " o.forgotten"
)
_HOLDING = (
    "FROM out_of_room_memberships o LEFT JOIN rooms r ON r.room_id = o.room_id"
    " LEFT JOIN memberships m ON m.room_nid = r.room_nid AND m.user_id = o.user_id"
    " WHERE (m.position IS NULL OR m.position < o.position)"
    " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.event_id = o.event_id)"
)


def _record(row: Row) -> OutOfRoom:
    event = load_event(bytes(row[5]), row[4], rules_for(row[3]))
    return OutOfRoom(
        row[0], row[1], row[2], event, json.loads(bytes(row[6])), row[7], int(row[8]), bool(row[9])
    )


async def get(tx: Transaction, user_id: str, room_id: str) -> OutOfRoom | None:
    """The user's membership from outside, if it is what holds."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS} {_HOLDING} AND o.user_id = $1 AND o.room_id = $2", user_id, room_id
    )
    return _record(row) if row else None


async def of_user(tx: Transaction, user_id: str) -> list[OutOfRoom]:
    """The memberships from outside that hold for a user, oldest first."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} {_HOLDING} AND o.user_id = $1 ORDER BY o.position", user_id)
    return [_record(row) for row in rows]


async def ended_meanwhile(tx: Transaction, user_id: str, since: int) -> list[str]:
    """The rooms whose invite or knock of the user, known at position `since`, is over by what came to the room's graph later.

    Only those where the membership itself is no news: the user had left the room before, and the invite came together with its end.
    """
    rows = await tx.fetch(
        "SELECT o.room_id FROM out_of_room_memberships o JOIN rooms r ON r.room_id = o.room_id"
        " JOIN memberships m ON m.room_nid = r.room_nid AND m.user_id = o.user_id"
        " JOIN events e ON e.event_id = o.event_id"
        " WHERE o.user_id = $1 AND o.membership IN ('invite', 'knock') AND o.position <= $2"
        " AND m.membership IN ('leave', 'ban') AND m.position < o.position AND e.position > $2",
        user_id,
        since,
    )
    return [row[0] for row in rows]


async def put(tx: Transaction, record: OutOfRoom) -> None:
    """Store a membership in place of an earlier one of the same user in the same room."""
    await tx.execute(
        "INSERT INTO out_of_room_memberships (user_id, room_id, membership, version, event_id, canonical,"
        " stripped_state, via, position, forgotten) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " ON CONFLICT (user_id, room_id) DO UPDATE SET membership = excluded.membership, version = excluded.version,"
        " event_id = excluded.event_id, canonical = excluded.canonical, stripped_state = excluded.stripped_state,"
        " via = excluded.via, position = excluded.position, forgotten = excluded.forgotten",
        record.user_id,
        record.room_id,
        record.membership,
        record.event.rules.version,
        record.event.event_id,
        record.event.canonical,
        json.dumps(record.stripped_state, separators=(",", ":")).encode(),
        record.via,
        record.position,
        record.forgotten,
    )


async def set_forgotten(tx: Transaction, user_id: str, room_id: str) -> None:
    """Hide a room that the user is no longer invited to from the user."""
    await tx.execute(
        "UPDATE out_of_room_memberships SET forgotten = $1 WHERE user_id = $2 AND room_id = $3",
        True,
        user_id,
        room_id,
    )
