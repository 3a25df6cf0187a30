"""Rooms: their versions, the compare-and-swap that moves their graph, and the graph's extremities."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from homeserver.core.room_versions import RoomRules, rules_for
from homeserver.core.state_map import EMPTY, Digest
from homeserver.storage.database import Row, Transaction, is_storable


class RoomMoved(Exception):
    """Another writer has moved the room's graph since it was read: read again and repeat."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room as it stood when it was read.

    `graph_version` counts the units of work that changed the graph; `current_state` is the root of the state map that results
    from resolving the state after all forward extremities.
    """

    room_nid: int
    room_id: str
    version: str
    graph_version: int
    current_state: Digest
    published: bool

    @property
    def rules(self) -> RoomRules:
        """The rules of the room's version."""
        return rules_for(self.version)


_COLUMNS = "room_nid, room_id, version, graph_version, current_state, published"


def _room(row: Row) -> Room:
    return Room(row[0], row[1], row[2], row[3], bytes(row[4]), bool(row[5]))


async def get(tx: Transaction, room_id: str) -> Room | None:
    """The room, or None when we know nothing of it; any text may be asked for."""
    if not is_storable(room_id):
        return None
    row = await tx.fetch_one(f"SELECT {_COLUMNS} FROM rooms WHERE room_id = $1", room_id)
    return _room(row) if row else None


async def get_many(tx: Transaction, room_ids: Collection[str]) -> dict[str, Room]:
    """Rooms by their IDs; unknown ones are left out."""
    wanted = [room_id for room_id in room_ids if is_storable(room_id)]
    if not wanted:
        return {}
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM rooms WHERE room_id = ANY($1)", wanted)
    return {row[1]: _room(row) for row in rows}


async def by_nids(tx: Transaction, nids: Collection[int]) -> dict[int, Room]:
    """Rooms by their numbers."""
    if not nids:
        return {}
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM rooms WHERE room_nid = ANY($1)", list(nids))
    return {row[0]: _room(row) for row in rows}


async def published(tx: Transaction) -> list[Room]:
    """The rooms in our public room directory."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM rooms WHERE published ORDER BY room_nid")
    return [_room(row) for row in rows]


async def set_published(tx: Transaction, room_nid: int, is_published: bool) -> None:
    """List the room in our public room directory, or take it out."""
    await tx.execute("UPDATE rooms SET published = $1 WHERE room_nid = $2", is_published, room_nid)


async def create(tx: Transaction, room_id: str, version: str) -> Room:
    """Make a room without events."""
    nid = await tx.fetch_value(
        "INSERT INTO rooms (room_id, version, graph_version, current_state, published)"
        " VALUES ($1, $2, 0, $3, $4) RETURNING room_nid",
        room_id,
        version,
        EMPTY,
        False,
    )
    return Room(int(nid), room_id, version, 0, EMPTY, False)


async def advance(tx: Transaction, room: Room, current_state: Digest) -> Room:
    """Move the room to its next graph version, with its current state.

    Raises RoomMoved when the room is no longer at the version that `room` was read at.
    """
    moved = await tx.execute(
        "UPDATE rooms SET graph_version = graph_version + 1, current_state = $1"
        " WHERE room_nid = $2 AND graph_version = $3",
        current_state,
        room.room_nid,
        room.graph_version,
    )
    if moved != 1:
        raise RoomMoved(room.room_id)
    return replace(room, graph_version=room.graph_version + 1, current_state=current_state)


async def record_state(tx: Transaction, room_nid: int, position: int, root: Digest) -> None:
    """Note that the room's current state is `root` from `position` on."""
    await tx.execute(
        "INSERT INTO room_states (room_nid, position, state_root) VALUES ($1, $2, $3)"
        " ON CONFLICT (room_nid, position) DO UPDATE SET state_root = excluded.state_root",
        room_nid,
        position,
        root,
    )


async def state_at_position(tx: Transaction, room_nid: int, position: int) -> Digest:
    """The room's current state as it was when the stream stood at `position`; EMPTY before we knew the room."""
    root = await tx.fetch_value(
        "SELECT state_root FROM room_states WHERE room_nid = $1 AND position <= $2 ORDER BY position DESC LIMIT 1",
        room_nid,
        position,
    )
    return bytes(root) if root is not None else EMPTY


async def states_changed(tx: Transaction, room_nids: Collection[int], after: int, up_to: int) -> set[int]:
    """Which of these rooms have another current state than before with `after` < position <= `up_to`."""
    if not room_nids:
        return set()
    rows = await tx.fetch(
        "SELECT DISTINCT room_nid FROM room_states WHERE room_nid = ANY($1) AND position > $2 AND position <= $3",
        list(room_nids),
        after,
        up_to,
    )
    return {row[0] for row in rows}


async def forward_extremities(tx: Transaction, room_nid: int) -> list[str]:
    """The IDs of the events that no event of the room refers to yet, in a stable order."""
    rows = await tx.fetch(
        "SELECT event_id FROM forward_extremities WHERE room_nid = $1 ORDER BY event_id", room_nid
    )
    return [row[0] for row in rows]


async def change_forward_extremities(
    tx: Transaction, room_nid: int, *, add: Collection[str], remove: Collection[str]
) -> None:
    """Take out the events that are referred to now and put in the new ends of the graph."""
    if len(add) == len(remove) == 1:
        # Nearly always one event follows one other.
        moved = await tx.execute(
            "UPDATE forward_extremities SET event_id = $1 WHERE room_nid = $2 AND event_id = $3",
            *add,
            room_nid,
            *remove,
        )
        if moved:
            return
    if remove:
        await tx.execute(
            "DELETE FROM forward_extremities WHERE room_nid = $1 AND event_id = ANY($2)",
            room_nid,
            list(remove),
        )
    if add:
        await tx.execute_many(
            "INSERT INTO forward_extremities (room_nid, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(room_nid, event_id) for event_id in add],
        )


async def backward_extremities(tx: Transaction, room_nid: int) -> dict[str, int]:
    """The missing events that known ones refer to, each with the depth of the event that refers to it."""
    rows = await tx.fetch("SELECT event_id, depth FROM backward_extremities WHERE room_nid = $1", room_nid)
    return {row[0]: row[1] for row in rows}


async def is_backward_extremity(tx: Transaction, room_nid: int, event_id: str) -> bool:
    """Whether known events refer to this one, which was missing so far."""
    return (
        await tx.fetch_value(
            "SELECT 1 FROM backward_extremities WHERE room_nid = $1 AND event_id = $2", room_nid, event_id
        )
        is not None
    )


async def change_backward_extremities(
    tx: Transaction, room_nid: int, *, add: Mapping[str, int], remove: Collection[str]
) -> None:
    """Note new gaps in the history (each with the depth of the event that refers to it), and gaps that are filled."""
    if remove:
        await tx.execute(
            "DELETE FROM backward_extremities WHERE room_nid = $1 AND event_id = ANY($2)",
            room_nid,
            list(remove),
        )
    if add:
        await tx.execute_many(
            "INSERT INTO backward_extremities (room_nid, event_id, depth) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [(room_nid, event_id, depth) for event_id, depth in add.items()],
        )
