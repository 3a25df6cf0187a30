"""Events: stored once, as the canonical JSON bytes that are spliced into every answer that shows them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from homeserver.core.events import Event, load_event
from homeserver.core.room_versions import rules_for
from homeserver.core.state_map import Digest
from homeserver.core.stream_tokens import Place
from homeserver.storage.database import Row, Transaction, is_storable

BATCH = 500
"""How many events one query asks for."""


class EventStatus(IntEnum):
    """What the receipt checks made of an event. Clients are shown those that are ACCEPTED.

    WITHHELD: accepted, and yet clients are not shown it: a redaction that does not apply to what it names, or not yet; an event
    that only joins ends of the graph.
    Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
    """

    ACCEPTED = 0
    SOFT_FAILED = 1
    REJECTED = 2
    WITHHELD = 3


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with what we know of its place.

    position: its place in the stream; negative for history fetched later; None for an outlier, whose place is unknown.
    reason: why it was rejected or soft-failed. state_before, state_after: roots of state maps; None for an outlier.
    redacted_by: the ID of the redaction that was applied; `event` is the redacted form then.
    """

    event: Event
    nid: int
    room_nid: int
    position: int | None
    status: EventStatus
    reason: str | None
    state_before: Digest | None
    state_after: Digest | None
    redacted_by: str | None

    @property
    def is_outlier(self) -> bool:
        """Whether the event's place in the graph is unknown."""
        return self.position is None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to be inserted; the fields mean what they mean in StoredEvent."""

    event: Event
    position: int | None = None
    status: EventStatus = EventStatus.ACCEPTED
    reason: str | None = None
    state_before: Digest | None = None
    state_after: Digest | None = None
    redacted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What we have of an event, without the event."""

    room_nid: int
    position: int | None
    status: EventStatus

    @property
    def is_outlier(self) -> bool:
        """Whether the event's place in the graph is unknown."""
        return self.position is None


_COLUMNS = (
    "e.event_id, e.event_nid, e.room_nid, e.position, e.status, e.reason, e.state_before, e.state_after,"
    " e.redacted_by, e.canonical, r.version"
)
_FROM = "FROM events e JOIN rooms r ON r.room_nid = e.room_nid"


def _stored(row: Row) -> StoredEvent:
    return StoredEvent(
        event=load_event(bytes(row[9]), row[0], rules_for(row[10])),
        nid=row[1],
        room_nid=row[2],
        position=row[3],
        status=EventStatus(row[4]),
        reason=row[5],
        state_before=bytes(row[6]) if row[6] is not None else None,
        state_after=bytes(row[7]) if row[7] is not None else None,
        redacted_by=row[8],
    )


def in_batches(ids: Iterable[str]) -> Iterable[list[str]]:
    """Distinct IDs in lists of at most BATCH, without those that no event can have."""
    distinct = [event_id for event_id in dict.fromkeys(ids) if is_storable(event_id)]
    return (distinct[start : start + BATCH] for start in range(0, len(distinct), BATCH))


def as_stored(new: NewEvent, nid: int, room_nid: int) -> StoredEvent:
    """A new event as it is once it is stored."""
    return StoredEvent(
        new.event,
        nid,
        room_nid,
        new.position,
        new.status,
        new.reason,
        new.state_before,
        new.state_after,
        new.redacted_by,
    )


async def get(tx: Transaction, event_id: str) -> StoredEvent | None:
    """The event, whatever its status; None when we do not have it. Any text may be asked for."""
    if not is_storable(event_id):
        return None
    row = await tx.fetch_one(f"SELECT {_COLUMNS} {_FROM} WHERE e.event_id = $1", event_id)
    return _stored(row) if row else None


async def get_many(tx: Transaction, event_ids: Collection[str]) -> dict[str, StoredEvent]:
    """Events by ID, whatever their status; those we do not have are left out."""
    found: dict[str, StoredEvent] = {}
    for batch in in_batches(event_ids):
        for row in await tx.fetch(f"SELECT {_COLUMNS} {_FROM} WHERE e.event_id = ANY($1)", batch):
            found[row[0]] = _stored(row)
    return found


async def by_nids(tx: Transaction, nids: Collection[int]) -> dict[int, StoredEvent]:
    """Events by number."""
    if not nids:
        return {}
    rows = await tx.fetch(f"SELECT {_COLUMNS} {_FROM} WHERE e.event_nid = ANY($1)", list(nids))
    return {row[1]: _stored(row) for row in rows}


async def load_accepted(tx: Transaction, event_ids: Collection[str]) -> dict[str, Event]:
    """The events that were not rejected: what auth rules and state resolution may build on (soft-failed ones count)."""
    found: dict[str, Event] = {}
    for batch in in_batches(event_ids):
        rows = await tx.fetch(
            f"SELECT e.event_id, e.canonical, r.version {_FROM} WHERE e.event_id = ANY($1) AND e.status <> $2",
            batch,
            int(EventStatus.REJECTED),
        )
        for row in rows:
            found[row[0]] = load_event(bytes(row[1]), row[0], rules_for(row[2]))
    return found


async def redactions_of(tx: Transaction, event_ids: Collection[str]) -> dict[str, Event]:
    """The redactions that were applied to those of the events that are redacted, by the IDs of these."""
    found: dict[str, Event] = {}
    for batch in in_batches(event_ids):
        rows = await tx.fetch(
            "SELECT target.event_id, e.event_id, e.canonical, r.version FROM events target"
            " JOIN events e ON e.event_id = target.redacted_by JOIN rooms r ON r.room_nid = e.room_nid"
            " WHERE target.event_id = ANY($1)",
            batch,
        )
        for row in rows:
            found[row[0]] = load_event(bytes(row[2]), row[1], rules_for(row[3]))
    return found


async def known(tx: Transaction, event_ids: Collection[str]) -> dict[str, Known]:
    """Which of these events we have, and how."""
    found: dict[str, Known] = {}
    for batch in in_batches(event_ids):
        rows = await tx.fetch(
            "SELECT event_id, room_nid, position, status FROM events WHERE event_id = ANY($1)", batch
        )
        found.update((row[0], Known(row[1], row[2], EventStatus(row[3]))) for row in rows)
    return found


async def forward_extremities(tx: Transaction, room_nid: int) -> list[StoredEvent]:
    """The events that no event of the room refers to yet, in a stable order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM forward_extremities f JOIN events e ON e.event_id = f.event_id"
        " JOIN rooms r ON r.room_nid = e.room_nid WHERE f.room_nid = $1 ORDER BY f.event_id",
        room_nid,
    )
    return [_stored(row) for row in rows]


async def place_many(tx: Transaction, room_nid: int, rows: Sequence[NewEvent]) -> dict[str, int]:
    """Store events with their place in the graph, also where they were outliers of this room so far; returns their numbers by
    event ID. Those that have a place already stay as they are."""
    if len(rows) == 1:
        nid = await tx.fetch_value(f"{_PLACE} RETURNING event_nid", *_values(room_nid, rows[0]))
        if nid is not None:
            return {rows[0].event.event_id: int(nid)}
    else:
        await tx.execute_many(_PLACE, [_values(room_nid, new) for new in rows])
    nids: dict[str, int] = {}
    for batch in in_batches(new.event.event_id for new in rows):
        found = await tx.fetch("SELECT event_id, event_nid FROM events WHERE event_id = ANY($1)", batch)
        nids.update((row[0], row[1]) for row in found)
    return nids


async def insert_many(tx: Transaction, room_nid: int, rows: Sequence[NewEvent]) -> None:
    """Store many events at once; those that we have already, outliers or not, stay as they are."""
    if rows:
        await tx.execute_many(
            f"{_INSERT} ON CONFLICT (event_id) DO NOTHING", [_values(room_nid, new) for new in rows]
        )


_INSERT = (
    "INSERT INTO events (event_id, room_nid, position, depth, type, state_key, sender, origin_server_ts, status, reason,"
    " state_before, state_after, redacted_by, canonical)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
)
_PLACE = (
    f"{_INSERT} ON CONFLICT (event_id) DO UPDATE SET position = excluded.position, status = excluded.status,"
    " reason = excluded.reason, state_before = excluded.state_before, state_after = excluded.state_after,"
    " canonical = excluded.canonical WHERE events.position IS NULL AND events.room_nid = excluded.room_nid"
)


def _values(room_nid: int, new: NewEvent) -> tuple[object, ...]:
    event = new.event
    return (
        event.event_id,
        room_nid,
        new.position,
        event.depth,
        event.type,
        event.state_key,
        event.sender,
        event.origin_server_ts,
        int(new.status),
        # It can quote what the event holds, and an event can hold NUL, which TEXT cannot.
        new.reason.replace("\0", "\N{SYMBOL FOR NULL}") if new.reason else None,
        new.state_before,
        new.state_after,
        new.redacted_by,
        event.canonical,
    )


async def set_redacted(tx: Transaction, redacted: Event, redaction_event_id: str) -> None:
    """Replace a stored event with its redacted form, for good."""
    await tx.execute(
        "UPDATE events SET canonical = $1, redacted_by = $2 WHERE event_id = $3",
        redacted.canonical,
        redaction_event_id,
        redacted.event_id,
    )


async def set_status(tx: Transaction, event_id: str, status: EventStatus) -> None:
    """Change what was made of a stored event."""
    await tx.execute("UPDATE events SET status = $1 WHERE event_id = $2", int(status), event_id)


async def add_pending_redaction(tx: Transaction, target_event_id: str, redaction_event_id: str) -> None:
    """Remember a redaction of an event that we do not have yet."""
    await tx.execute(
        "INSERT INTO pending_redactions (target_event_id, redaction_event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        target_event_id,
        redaction_event_id,
    )


async def take_pending_redactions(
    tx: Transaction, target_event_ids: Collection[str]
) -> Mapping[str, list[str]]:
    """The redactions that waited for these events, by target; they wait no longer."""
    waiting: dict[str, list[str]] = {}
    for batch in in_batches(target_event_ids):
        rows = await tx.fetch(
            "DELETE FROM pending_redactions WHERE target_event_id = ANY($1)"
            " RETURNING target_event_id, redaction_event_id",
            batch,
        )
        for target, redaction in rows:
            waiting.setdefault(target, []).append(redaction)
    return waiting


async def timeline(
    tx: Transaction, room_nid: int, *, after: int, up_to: int, limit: int
) -> tuple[list[StoredEvent], bool]:
    """The newest `limit` accepted events of the room with `after` < position <= `up_to`, oldest first, and whether older
    ones were left out."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE e.room_nid = $1 AND e.position > $2 AND e.position <= $3 AND e.status = 0"
        " ORDER BY e.position DESC LIMIT $4",
        room_nid,
        after,
        up_to,
        limit + 1,
    )
    newest = [_stored(row) for row in rows[:limit]]
    newest.reverse()
    return newest, len(rows) > limit


async def following(
    tx: Transaction, room_nids: Collection[int], *, after: int, up_to: int, limit: int
) -> list[StoredEvent]:
    """The first `limit` accepted events of some rooms with `after` < position <= `up_to`, oldest first."""
    if not room_nids:
        return []
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE e.room_nid = ANY($1) AND e.position > $2 AND e.position <= $3 AND e.status = 0"
        " ORDER BY e.position LIMIT $4",
        list(room_nids),
        after,
        up_to,
        limit,
    )
    return [_stored(row) for row in rows]


async def page(
    tx: Transaction, room_nid: int, *, start: Place | None, backwards: bool, limit: int
) -> list[StoredEvent]:
    """Accepted events in the order of the room's history, from the place `start` (None: from the end of it).

    A place is between events: right after the event with its depth and position, or where that would be.
    Backwards: older than `start`, newest first, and nothing that came after `start.until`. Forwards: newer than `start`, oldest
    first.
    """
    compare, order = ("<=", "DESC") if backwards else (">", "ASC")
    end = Place(2**63 - 1, 2**62) if backwards else Place(-1, -(2**62))
    at = start or end
    until = at.until if backwards and at.until is not None else 2**62
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE e.room_nid = $1 AND e.position IS NOT NULL AND e.status = 0"
        f" AND (e.depth, e.position) {compare} ($2, $3) AND e.position <= $4"
        f" ORDER BY e.depth {order}, e.position {order} LIMIT $5",
        room_nid,
        at.depth,
        at.position,
        until,
        limit,
    )
    return [_stored(row) for row in rows]


async def by_time(
    tx: Transaction, room_nid: int, *, start: tuple[int, int], backwards: bool, limit: int
) -> list[StoredEvent]:
    """Accepted events in the order of what they say of their time, from `start` on, which is (origin_server_ts, position).

    Backwards: earlier than `start`, latest first. Forwards: later than `start`, earliest first. `start` itself is left out.
    """
    compare, order = ("<", "DESC") if backwards else (">", "ASC")
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE e.room_nid = $1 AND e.position IS NOT NULL AND e.status = 0"
        f" AND (e.origin_server_ts, e.position) {compare} ($2, $3)"
        f" ORDER BY e.origin_server_ts {order}, e.position {order} LIMIT $4",
        room_nid,
        *start,
        limit,
    )
    return [_stored(row) for row in rows]


async def place_at_position(tx: Transaction, room_nid: int, position: int) -> Place:
    """The place in the room's history behind which a reader has everything that came up to a stream position.

    That is after the deepest such event, which need not be the newest: what comes late can belong far back.
    """
    row = await tx.fetch_one(
        "SELECT depth, position FROM events WHERE room_nid = $1 AND position <= $2 AND status = 0"
        " AND position IS NOT NULL ORDER BY depth DESC, position DESC LIMIT 1",
        room_nid,
        position,
    )
    return Place(row[0], row[1]) if row else Place(0, 0)


async def rooms_changed(tx: Transaction, room_nids: Collection[int], after: int, up_to: int) -> set[int]:
    """Which of these rooms have an accepted event with `after` < position <= `up_to`."""
    if not room_nids:
        return set()
    rows = await tx.fetch(
        "SELECT DISTINCT room_nid FROM events WHERE room_nid = ANY($1) AND position > $2 AND position <= $3"
        " AND status = 0",
        list(room_nids),
        after,
        up_to,
    )
    return {row[0] for row in rows}


async def sent_event(
    tx: Transaction, user_id: str, device_id: str, endpoint: str, transaction_id: str
) -> str | None:
    """The event that this device sent with this transaction ID, if it did."""
    event_id = await tx.fetch_value(
        "SELECT event_id FROM sent_events WHERE user_id = $1 AND device_id = $2 AND endpoint = $3"
        " AND transaction_id = $4",
        user_id,
        device_id,
        endpoint,
        transaction_id,
    )
    return None if event_id is None else str(event_id)


async def record_sent(
    tx: Transaction,
    user_id: str,
    device_id: str,
    endpoint: str,
    transaction_id: str,
    event_id: str,
    now_ms: int,
) -> None:
    """Remember what a device sent with a transaction ID."""
    await tx.execute(
        "INSERT INTO sent_events (user_id, device_id, endpoint, transaction_id, event_id, sent_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        user_id,
        device_id,
        endpoint,
        transaction_id,
        event_id,
        now_ms,
    )


async def transaction_ids(
    tx: Transaction, user_id: str, device_id: str, event_ids: Collection[str]
) -> dict[str, str]:
    """The transaction IDs with which this device sent some of these events: what it is told in `unsigned`."""
    if not event_ids:
        return {}
    rows = await tx.fetch(
        "SELECT event_id, transaction_id FROM sent_events WHERE event_id = ANY($1) AND user_id = $2 AND device_id = $3",
        list(event_ids),
        user_id,
        device_id,
    )
    return {row[0]: row[1] for row in rows}
