"""Relations: which events are the children of which.

Spec: https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.core.relations import may_replace, relation_of
from homeserver.storage.database import Transaction, is_storable
from homeserver.storage.events import StoredEvent


async def add(tx: Transaction, events: Sequence[StoredEvent]) -> None:
    """Keep the relations of events that have their place in the graph, and that clients may see."""
    rows = []
    for stored in events:
        event = stored.event
        relation = relation_of(event.content)
        if relation is None or not is_storable(relation.rel_type):
            continue
        rows.append(
            (
                stored.nid,
                stored.room_nid,
                relation.parent,
                relation.rel_type,
                relation.key if relation.key is not None and is_storable(relation.key) else None,
                event.type,
                event.sender,
                event.depth,
                stored.position,
                may_replace(event),
            )
        )
    if rows:
        await tx.execute_many(
            "INSERT INTO event_relations (event_nid, room_nid, parent_id, rel_type, relation_key, type, sender, depth,"
            " position, may_replace) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (event_nid) DO NOTHING",
            rows,
        )


async def remove(tx: Transaction, event: StoredEvent) -> None:
    """Forget the relation of an event that was redacted: "the relationship is broken"."""
    await tx.execute("DELETE FROM event_relations WHERE event_nid = $1", event.nid)
