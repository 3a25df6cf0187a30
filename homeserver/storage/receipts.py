"""How far users have read rooms: the last receipt of each user for each room, receipt type and thread.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from homeserver.core.receipts import READ_PRIVATE, UNTHREADED, Read
from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt with what we know of its place.

    event_position: the place in the stream of the event that is read; None when we did not have the event. position: of the
    receipt's last change.
    """

    read: Read
    room_nid: int
    event_position: int | None
    position: int


@dataclass(slots=True)
class ReadUpTo:
    """The positions of the events up to which a user has read a room, publicly or privately, whichever is further.

    unthreaded: all of the room; None for no such receipt. threads: by thread ID, `main` among them.
    """

    unthreaded: int | None = None
    threads: dict[str, int] = field(default_factory=dict)


_COLUMNS = "p.room_nid, r.room_id, p.user_id, p.receipt_type, p.thread_id, p.event_id, p.sent_ms, p.event_position, p.position"
_FROM = "FROM receipts p JOIN rooms r ON r.room_nid = p.room_nid"


def _receipt(row: Row) -> StoredReceipt:
    return StoredReceipt(Read(row[1], row[2], row[3], row[4], row[5], row[6]), row[0], row[7], row[8])


async def of_users(
    tx: Transaction, room_nid: int, user_ids: Collection[str], thread_ids: Collection[str]
) -> list[StoredReceipt]:
    """The receipts of some users in some threads of a room."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE p.room_nid = $1 AND p.user_id = ANY($2) AND p.thread_id = ANY($3)",
        room_nid,
        list(user_ids),
        list(thread_ids),
    )
    return [_receipt(row) for row in rows]


async def forget_oldest(tx: Transaction, room_nid: int, user_ids: Collection[str], keep: int) -> None:
    """Keep the newest `keep` receipts in a room of each of these users, and forget the others."""
    rows = await tx.fetch(
        "SELECT user_id FROM receipts WHERE room_nid = $1 AND user_id = ANY($2) GROUP BY user_id HAVING COUNT(*) > $3",
        room_nid,
        list(user_ids),
        keep,
    )
    for row in rows:
        await tx.execute(
            "DELETE FROM receipts WHERE room_nid = $1 AND user_id = $2 AND position < (SELECT MIN(position) FROM"
            " (SELECT position FROM receipts WHERE room_nid = $1 AND user_id = $2 ORDER BY position DESC LIMIT $3) newest)",
            room_nid,
            row[0],
            keep,
        )


async def put_many(tx: Transaction, receipts: Sequence[StoredReceipt]) -> None:
    """Keep receipts, each in place of the one that its user had for the room, type and thread."""
    await tx.execute_many(
        "INSERT INTO receipts (room_nid, user_id, receipt_type, thread_id, event_id, event_position, sent_ms, position)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (room_nid, user_id, receipt_type, thread_id) DO UPDATE SET"
        " event_id = excluded.event_id, event_position = excluded.event_position, sent_ms = excluded.sent_ms,"
        " position = excluded.position",
        [
            (
                stored.room_nid,
                stored.read.user_id,
                stored.read.type,
                stored.read.thread_id,
                stored.read.event_id,
                stored.event_position,
                stored.read.sent_ms,
                stored.position,
            )
            for stored in receipts
        ],
    )


async def shown_to(
    tx: Transaction, user_id: str, room_nids: Collection[int], after: int, limit: int
) -> list[StoredReceipt]:
    """What a user may know of receipts in these rooms that changed later than `after`, oldest first: all public ones, and the
    user's own. Of each room at most the newest `limit`."""
    if not room_nids:
        return []
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY room_nid ORDER BY position DESC) AS place"
        " FROM receipts WHERE room_nid = ANY($1) AND position > $2 AND (receipt_type <> $3 OR user_id = $4)) p"
        " JOIN rooms r ON r.room_nid = p.room_nid WHERE p.place <= $5 ORDER BY p.position",
        list(room_nids),
        after,
        READ_PRIVATE,
        user_id,
        limit,
    )
    return [_receipt(row) for row in rows]


async def own(tx: Transaction, user_id: str, room_nids: Collection[int]) -> list[StoredReceipt]:
    """All receipts of a user in these rooms, in the order of their last changes."""
    if not room_nids:
        return []
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE p.room_nid = ANY($1) AND p.user_id = $2 ORDER BY p.position",
        list(room_nids),
        user_id,
    )
    return [_receipt(row) for row in rows]


async def read_up_to(tx: Transaction, user_id: str, room_nids: Collection[int]) -> dict[int, ReadUpTo]:
    """How far a user has read each of these rooms, by the rooms' numbers; rooms without a receipt are left out.

    "Between `m.read` and `m.read.private`, the receipt which is more "ahead" or "recent" is used when determining the highest
    read-up-to mark."
    """
    if not room_nids:
        return {}
    rows = await tx.fetch(
        "SELECT room_nid, thread_id, MAX(event_position) FROM receipts WHERE room_nid = ANY($1) AND user_id = $2"
        " AND event_position IS NOT NULL GROUP BY room_nid, thread_id",
        list(room_nids),
        user_id,
    )
    found: dict[int, ReadUpTo] = {}
    for room_nid, thread_id, position in rows:
        up_to = found.setdefault(room_nid, ReadUpTo())
        if thread_id == UNTHREADED:
            up_to.unthreaded = position
        else:
            up_to.threads[thread_id] = position
    return found
