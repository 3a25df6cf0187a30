"""Leaves of our users, from rooms that we are not in, of which no server in the room has heard yet."""

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class UntoldLeave:
    """event_id: of the leave that the user was shown. tries: how often the servers were asked in vain."""

    user_id: str
    room_id: str
    event_id: str
    tries: int
    retry_at_ms: int


async def put(tx: Transaction, leave: UntoldLeave) -> None:
    """Remember it, in place of an earlier one of the user in the room."""
    await tx.execute(
        "INSERT INTO untold_leaves (user_id, room_id, event_id, tries, retry_at_ms) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, room_id) DO UPDATE SET event_id = excluded.event_id, tries = excluded.tries,"
        " retry_at_ms = excluded.retry_at_ms",
        leave.user_id,
        leave.room_id,
        leave.event_id,
        leave.tries,
        leave.retry_at_ms,
    )


async def remove(tx: Transaction, leave: UntoldLeave) -> None:
    """Forget it, unless another leave has taken its place."""
    await tx.execute(
        "DELETE FROM untold_leaves WHERE user_id = $1 AND room_id = $2 AND event_id = $3",
        leave.user_id,
        leave.room_id,
        leave.event_id,
    )


async def due(tx: Transaction, now_ms: int, limit: int) -> list[UntoldLeave]:
    """Those whose next try is due, the longest overdue first."""
    rows = await tx.fetch(
        "SELECT user_id, room_id, event_id, tries, retry_at_ms FROM untold_leaves WHERE retry_at_ms <= $1"
        " ORDER BY retry_at_ms LIMIT $2",
        now_ms,
        limit,
    )
    return [UntoldLeave(row[0], row[1], row[2], row[3], row[4]) for row in rows]
