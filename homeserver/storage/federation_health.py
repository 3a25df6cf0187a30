"""How federation has gone with each server: what operators ask when something does not arrive."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from homeserver.storage.database import Transaction

Order = Literal["destination", "retry_last_ts", "retry_interval", "failure_ts", "last_success_ts"]
# What may be sorted by, as SQL; the name of the server comes second.
_ORDERS: Mapping[str, str] = {
    "destination": "k.destination",
    "retry_last_ts": "h.last_failure",
    "retry_interval": "d.retry_at - h.last_failure",
    "failure_ts": "d.failing_since",
    "last_success_ts": "h.last_success",
}
# Every server that we send to or have sent to; $1 is our own.
_KNOWN = (
    "(SELECT destination FROM destination_history UNION SELECT destination FROM destinations"
    " UNION SELECT destination FROM outbox UNION SELECT server FROM room_servers WHERE joined > 0) k"
)


@dataclass(frozen=True, slots=True)
class DestinationHealth:
    """A server that we send to. Times are milliseconds; None: never, or not now.

    failing_since, failures, retry_at: while it does not answer; queued: events that wait for it.
    """

    destination: str
    failing_since: int | None
    failures: int
    retry_at: int | None
    reason: str | None
    last_success: int | None
    last_failure: int | None
    queued: int


@dataclass(frozen=True, slots=True)
class InboundError:
    """A request of another server that was refused. at_ms: when."""

    at_ms: int
    what: str
    reason: str


async def note_success(tx: Transaction, destination: str, now_ms: int) -> None:
    """The server has answered."""
    await tx.execute(
        "INSERT INTO destination_history (destination, last_success) VALUES ($1, $2)"
        " ON CONFLICT (destination) DO UPDATE SET last_success = excluded.last_success",
        destination,
        now_ms,
    )


async def note_failure(tx: Transaction, destination: str, now_ms: int, reason: str) -> None:
    """The server has not answered, and why."""
    await tx.execute(
        "INSERT INTO destination_history (destination, last_failure, failure_reason) VALUES ($1, $2, $3)"
        " ON CONFLICT (destination) DO UPDATE SET last_failure = excluded.last_failure,"
        " failure_reason = excluded.failure_reason",
        destination,
        now_ms,
        reason,
    )


async def page(
    tx: Transaction,
    own_name: str,
    *,
    like: str = "",
    order: Order = "destination",
    backwards: bool = False,
    start: int = 0,
    limit: int = 100,
) -> tuple[list[DestinationHealth], int]:
    """Some of the servers whose name has `like` in it, and how many there are."""
    pattern = "%" + like.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    where = "WHERE k.destination <> $1 AND lower(k.destination) LIKE $2 ESCAPE '\\'"
    row = await tx.fetch_one(f"SELECT count(*) FROM {_KNOWN} {where}", own_name, pattern)
    direction = "DESC" if backwards else "ASC"
    found = await _select(
        tx,
        f"{where} ORDER BY {_ORDERS[order]} {direction}, k.destination LIMIT $3 OFFSET $4",
        own_name,
        pattern,
        limit,
        start,
    )
    return found, row[0] if row else 0


async def one(tx: Transaction, own_name: str, destination: str) -> DestinationHealth | None:
    """One server; None when we never had to do with it."""
    found = await _select(tx, "WHERE k.destination <> $1 AND k.destination = $2", own_name, destination)
    return found[0] if found else None


async def _select(tx: Transaction, rest: str, *arguments: object) -> list[DestinationHealth]:
    rows = await tx.fetch(
        "SELECT k.destination, d.failing_since, d.failures, d.retry_at, coalesce(d.reason, h.failure_reason),"
        " h.last_success, h.last_failure,"
        " (SELECT count(*) FROM outbox o WHERE o.destination = k.destination)"
        f" FROM {_KNOWN} LEFT JOIN destinations d ON d.destination = k.destination"
        f" LEFT JOIN destination_history h ON h.destination = k.destination {rest}",
        *arguments,
    )
    return [
        DestinationHealth(row[0], row[1], row[2] or 0, row[3], row[4], row[5], row[6], row[7]) for row in rows
    ]


async def shared_rooms(
    tx: Transaction, destination: str, start: int, limit: int, *, backwards: bool = False
) -> tuple[list[str], int]:
    """The rooms that a server is in, some of them, and how many there are."""
    rows = await tx.fetch(
        "SELECT r.room_id FROM room_servers s JOIN rooms r ON r.room_nid = s.room_nid"
        f" WHERE s.server = $1 AND s.joined > 0 ORDER BY r.room_id {'DESC' if backwards else 'ASC'} LIMIT $2 OFFSET $3",
        destination,
        limit,
        start,
    )
    total = await tx.fetch_one(
        "SELECT count(*) FROM room_servers WHERE server = $1 AND joined > 0", destination
    )
    return [row[0] for row in rows], total[0] if total else 0


async def set_inbound_errors(
    tx: Transaction, errors: Mapping[str, Sequence[InboundError]], *, most_origins: int
) -> None:
    """Put these in place of what is known of each of the servers, newest first; forget the servers that were quiet for longest."""
    await tx.execute("DELETE FROM inbound_errors WHERE origin = ANY($1)", list(errors))
    await tx.execute_many(
        "INSERT INTO inbound_errors (origin, number, at_ms, what, reason) VALUES ($1, $2, $3, $4, $5)",
        [
            (origin, number, error.at_ms, error.what, error.reason)
            for origin, each in errors.items()
            for number, error in enumerate(each)
        ],
    )
    await tx.execute(
        "DELETE FROM inbound_errors WHERE origin NOT IN"
        " (SELECT origin FROM inbound_errors WHERE number = 0 ORDER BY at_ms DESC LIMIT $1)",
        most_origins,
    )


async def inbound_errors(tx: Transaction, origins: Collection[str]) -> dict[str, list[InboundError]]:
    """The newest errors of these servers, newest first."""
    rows = await tx.fetch(
        "SELECT origin, at_ms, what, reason FROM inbound_errors WHERE origin = ANY($1) ORDER BY origin, number",
        list(origins),
    )
    found: dict[str, list[InboundError]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(InboundError(row[1], row[2], row[3]))
    return found


async def newest_inbound_errors(tx: Transaction, limit: int) -> list[tuple[str, InboundError]]:
    """The newest error of each of the servers that had one last."""
    rows = await tx.fetch(
        "SELECT origin, at_ms, what, reason FROM inbound_errors WHERE number = 0 ORDER BY at_ms DESC LIMIT $1",
        limit,
    )
    return [(row[0], InboundError(row[1], row[2], row[3])) for row in rows]
