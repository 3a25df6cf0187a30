"""Relations: which events are the children of which.

Spec: https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from homeserver.core.relations import (
    ANNOTATION,
    REFERENCE,
    REPLACE,
    THREAD,
    Relation,
    may_replace,
    relation_of,
)
from homeserver.core.stream_tokens import Place
from homeserver.storage.database import Transaction, is_storable
from homeserver.storage.events import StoredEvent

_LATEST: Final = 2**62
"""A position that nothing is behind."""


async def add(tx: Transaction, events: Sequence[StoredEvent]) -> None:
    """Keep the relations of events that have their place in the graph, and that clients may see.

    Redactions relate to nothing but what they redact, and whether clients may see them changes.
    """
    rows = []
    for stored in events:
        event = stored.event
        relation = relation_of(event.content) if event.type != "m.room.redaction" else None
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


@dataclass(frozen=True, slots=True)
class Child:
    """A child event of a parent. number: which child of the thread it is, from 1 on; 0 where nobody counts."""

    parent_id: str
    nid: int
    number: int = 0


_OF_PARENTS = (
    "FROM event_relations c JOIN events p ON p.event_id = c.parent_id AND p.room_nid = c.room_nid"
    " WHERE c.parent_id = ANY($1) AND c.sender <> ALL($2)"
)


_AGGREGATED: Final = (REPLACE, REFERENCE, THREAD)


async def kinds(tx: Transaction, parent_ids: Collection[str]) -> dict[str, set[str]]:
    """By parent, which of the relations that are aggregated it has; parents without any are left out."""
    has = ", ".join(
        f"EXISTS (SELECT 1 FROM event_relations c WHERE c.parent_id = p.event_id AND c.rel_type = '{rel_type}')"
        for rel_type in _AGGREGATED
    )
    rows = await tx.fetch(
        f"SELECT p.event_id, {has} FROM events p WHERE p.event_id = ANY($1)", list(parent_ids)
    )
    found = {
        row[0]: {kind for kind, has in zip(_AGGREGATED, row[1:], strict=True) if has}
        for row in map(tuple, rows)
    }
    return {parent_id: kinds for parent_id, kinds in found.items() if kinds}


async def latest_in_threads(
    tx: Transaction, root_ids: Collection[str], ignored: Collection[str]
) -> list[Child]:
    """The latest event of each thread, whose number is that of all its events, without those of ignored users."""
    of_thread = (
        "FROM event_relations c WHERE c.parent_id = p.event_id AND c.rel_type = 'm.thread' AND c.room_nid = p.room_nid"
        " AND c.sender <> ALL($2)"
    )
    rows = await tx.fetch(
        f"SELECT p.event_id, (SELECT c.event_nid {of_thread} ORDER BY c.depth DESC, c.position DESC LIMIT 1),"
        f" (SELECT COUNT(*) {of_thread}) FROM events p WHERE p.event_id = ANY($1)",
        list(root_ids),
        list(ignored),
    )
    return [Child(row[0], row[1], row[2]) for row in rows if row[1] is not None]


async def newest_in_threads(
    tx: Transaction, root_ids: Collection[str], ignored: Collection[str], most: int
) -> list[Child]:
    """Up to `most` events of each thread, the newest first, without those of ignored users."""
    rows = await tx.fetch(
        "SELECT parent_id, event_nid, number FROM (SELECT c.parent_id, c.event_nid,"
        " ROW_NUMBER() OVER (PARTITION BY c.parent_id ORDER BY c.depth, c.position) AS number,"
        " ROW_NUMBER() OVER (PARTITION BY c.parent_id ORDER BY c.depth DESC, c.position DESC) AS age"
        f" {_OF_PARENTS} AND c.rel_type = $3) AS numbered WHERE age <= $4 ORDER BY parent_id, age",
        list(root_ids),
        list(ignored),
        THREAD,
        most,
    )
    return [Child(row[0], row[1], row[2]) for row in rows]


async def newest_replacements(
    tx: Transaction, parent_ids: Collection[str], ignored: Collection[str], most: int
) -> list[Child]:
    """Up to `most` valid replacements of each event, the most recent first. That the parents may be replaced is for the caller
    to know.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
    """
    rows = await tx.fetch(
        "SELECT parent_id, event_nid FROM (SELECT c.parent_id, c.event_nid, ROW_NUMBER() OVER"
        " (PARTITION BY c.parent_id ORDER BY e.origin_server_ts DESC, e.event_id DESC) AS age"
        " FROM event_relations c JOIN events e ON e.event_nid = c.event_nid"
        " JOIN events p ON p.event_id = c.parent_id AND p.room_nid = c.room_nid AND p.sender = c.sender AND p.type = c.type"
        " WHERE c.parent_id = ANY($1) AND c.sender <> ALL($2) AND c.rel_type = $3 AND c.may_replace)"
        " AS numbered WHERE age <= $4 ORDER BY parent_id, age",
        list(parent_ids),
        list(ignored),
        REPLACE,
        most,
    )
    return [Child(row[0], row[1]) for row in rows]


async def newest_references(
    tx: Transaction, parent_ids: Collection[str], ignored: Collection[str], most: int
) -> list[Child]:
    """Up to `most` references to each event, the newest of them, oldest first."""
    rows = await tx.fetch(
        "SELECT parent_id, event_nid FROM (SELECT c.parent_id, c.event_nid, ROW_NUMBER() OVER"
        " (PARTITION BY c.parent_id ORDER BY c.depth DESC, c.position DESC) AS age"
        f" {_OF_PARENTS} AND c.rel_type = $3) AS numbered WHERE age <= $4 ORDER BY parent_id, age DESC",
        list(parent_ids),
        list(ignored),
        REFERENCE,
        most,
    )
    return [Child(row[0], row[1]) for row in rows]


async def with_child_of(
    tx: Transaction, parent_ids: Collection[str], user_id: str, rel_type: str
) -> frozenset[str]:
    """Those of the parents to which a user has related an event."""
    rows = await tx.fetch(
        "SELECT DISTINCT parent_id FROM event_relations WHERE parent_id = ANY($1) AND sender = $2 AND rel_type = $3",
        list(parent_ids),
        user_id,
        rel_type,
    )
    return frozenset(row[0] for row in rows)


@dataclass(frozen=True, slots=True)
class Children:
    """Which children of an event are asked for. depth: of how many generations; rel_type, event_type: None for all."""

    room_nid: int
    parent_id: str
    rel_type: str | None = None
    event_type: str | None = None
    depth: int = 1


async def children(
    tx: Transaction, wanted: Children, *, start: Place, backwards: bool, limit: int
) -> list[int]:
    """The numbers of the child events from `start` on, in the order of the room's history, as `events.page` takes it.

    What does not match is left out, but not what relates to it: that relates to the parent too, if only indirectly.
    """
    compare, order = ("<=", "DESC") if backwards else (">", "ASC")
    given: list[object] = [wanted.room_nid, wanted.parent_id, start.depth, start.position]
    given += [_LATEST if start.until is None else start.until, limit]
    generations, which, matches = "", "c.parent_id = $2 AND c.room_nid = $1", ""
    for column, value in (("rel_type", wanted.rel_type), ("type", wanted.event_type)):
        if value is not None:
            given.append(value)
            matches += f" AND c.{column} = ${len(given)}"
    if wanted.depth > 1:
        given.append(wanted.depth)
        generations = (
            f"WITH RECURSIVE related (event_nid, generation) AS (SELECT c.event_nid, 1 FROM event_relations c WHERE {which}"
            " UNION SELECT c.event_nid, generation + 1 FROM related JOIN events p ON p.event_nid = related.event_nid"
            f" JOIN event_relations c ON c.parent_id = p.event_id AND c.room_nid = $1 WHERE generation < ${len(given)}) "
        )
        which = "c.event_nid IN (SELECT event_nid FROM related)"
    rows = await tx.fetch(
        f"{generations}SELECT c.event_nid FROM event_relations c WHERE {which}{matches}"
        f" AND (c.depth, c.position) {compare} ($3, $4) AND c.position <= $5"
        f" ORDER BY c.depth {order}, c.position {order} LIMIT $6",
        *given,
    )
    return [row[0] for row in rows]


async def threads(
    tx: Transaction,
    room_nid: int,
    *,
    start: Place,
    ignored: Collection[str],
    participant: str | None,
    limit: int,
) -> list[tuple[str, Place]]:
    """The roots of the room's threads with the places of their latest events, the latest first, from `start` backwards.

    Events of ignored users are none, and neither are those after `start.until`. participant: whoever has to have taken part.
    """
    counts = "c.rel_type = 'm.thread' AND c.room_nid = $1 AND c.position <= $4 AND c.sender <> ALL($5)"
    rows = await tx.fetch(
        "SELECT c.parent_id, c.depth, c.position FROM event_relations c"
        " JOIN events p ON p.event_id = c.parent_id AND p.room_nid = c.room_nid AND p.position IS NOT NULL AND p.status = 0"
        f" WHERE {counts} AND (c.depth, c.position) <= ($2, $3) AND NOT EXISTS (SELECT 1 FROM event_relations later"
        f" WHERE later.parent_id = c.parent_id AND (later.depth, later.position) > (c.depth, c.position)"
        f" AND {counts.replace('c.', 'later.')})"
        # An event that relates to another is no root, whatever other servers send.
        " AND NOT EXISTS (SELECT 1 FROM event_relations root WHERE root.event_nid = p.event_nid)"
        " AND ($6::text IS NULL OR p.sender = $6 OR EXISTS (SELECT 1 FROM event_relations mine"
        " WHERE mine.parent_id = c.parent_id AND mine.sender = $6 AND mine.rel_type = 'm.thread'))"
        " ORDER BY c.depth DESC, c.position DESC LIMIT $7",
        room_nid,
        start.depth,
        start.position,
        _LATEST if start.until is None else start.until,
        list(ignored),
        participant,
        limit,
    )
    return [(row[0], Place(row[1], row[2])) for row in rows]


async def has_annotation(
    tx: Transaction, room_nid: int, sender: str, event_type: str, relation: Relation
) -> bool:
    """Whether a user has annotated an event with the same key by an event of the same type."""
    if relation.key is None or not is_storable(relation.key) or not is_storable(event_type):
        return False
    found = await tx.fetch_value(
        "SELECT 1 FROM event_relations WHERE parent_id = $1 AND sender = $2 AND rel_type = $3 AND type = $4"
        " AND relation_key = $5 AND room_nid = $6 LIMIT 1",
        relation.parent,
        sender,
        ANNOTATION,
        event_type,
        relation.key,
        room_nid,
    )
    return found is not None
