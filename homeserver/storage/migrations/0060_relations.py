"""Which events relate to which, so that the children of an event are found without reading a room's history."""

from homeserver.core.events import load_event
from homeserver.core.room_versions import rules_for
from homeserver.storage import relations
from homeserver.storage.database import Row, Transaction
from homeserver.storage.events import BATCH, NewEvent, as_stored

DESCRIPTION = "relations between events"

# One row for each event that clients may see and that relates to another; its number is the child's. The parent need not be here.
# depth, position: the child's place in the room's history.
_TABLE = """
CREATE TABLE event_relations (
    event_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL,
    parent_id TEXT NOT NULL,
    rel_type TEXT NOT NULL,
    relation_key TEXT,
    type TEXT NOT NULL,
    sender TEXT NOT NULL,
    depth BIGINT NOT NULL,
    position BIGINT NOT NULL,
    may_replace BOOLEAN NOT NULL
)
"""
_INDEXES = (
    "CREATE INDEX event_relations_by_parent ON event_relations (parent_id, rel_type, depth, position)",
    "CREATE INDEX event_relations_by_sender ON event_relations (parent_id, sender, rel_type)",
    "CREATE INDEX event_relations_of_threads ON event_relations (room_nid, depth, position)"
    " WHERE rel_type = 'm.thread'",
)


# The columns of this step's time alone.
_SHOWN = (
    "SELECT e.event_nid, e.room_nid, e.event_id, e.position, e.canonical, r.version FROM events e"
    " JOIN rooms r ON r.room_nid = e.room_nid WHERE e.event_nid > $1 AND e.position IS NOT NULL AND e.status = 0"
    " ORDER BY e.event_nid LIMIT $2"
)


def _event(row: Row) -> NewEvent:
    return NewEvent(load_event(bytes(row[4]), row[2], rules_for(row[5])), row[3])


async def migrate(tx: Transaction) -> None:
    """Make the table, and fill it from the events that there are."""
    await tx.execute(_TABLE)
    after = 0
    while batch := await tx.fetch(_SHOWN, after, BATCH):
        await relations.add(
            tx,
            [
                as_stored(_event(row), nid=row[0], room_nid=row[1])
                for row in batch
                if b"m.relates_to" in row[4]
            ],
        )
        after = batch[-1][0]
    for index in _INDEXES:
        await tx.execute(index)
