"""What other servers are still to be sent.

A row is added in the unit of work that stores the event, and deleted when the destination has answered, so that a restart
loses nothing. A transaction that got no answer is kept with its ID and body, because it must be repeated as it was.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Queued:
    """An event in the outbox. `canonical`: its PDU as canonical JSON."""

    event_nid: int
    canonical: bytes


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A transaction that was sent at least once. `body` is the request's body, `event_nids` what it brings."""

    transaction_id: str
    event_nids: tuple[int, ...]
    body: bytes


async def add(tx: Transaction, destinations: Collection[str], event_nid: int) -> None:
    """Queue an event for these servers."""
    await tx.execute_many(
        "INSERT INTO outbox (destination, event_nid) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        [(destination, event_nid) for destination in destinations],
    )


async def waiting(tx: Transaction) -> list[str]:
    """The servers for which something is queued or unanswered."""
    rows = await tx.fetch(
        "SELECT destination FROM outbox UNION SELECT destination FROM unanswered_transactions ORDER BY 1"
    )
    return [row[0] for row in rows]


async def oldest(tx: Transaction, destination: str, limit: int) -> list[Queued]:
    """The first `limit` events that are queued for a server, oldest first."""
    rows = await tx.fetch(
        "SELECT o.event_nid, e.canonical FROM outbox o JOIN events e ON e.event_nid = o.event_nid"
        " WHERE o.destination = $1 ORDER BY o.event_nid LIMIT $2",
        destination,
        limit,
    )
    return [Queued(row[0], bytes(row[1])) for row in rows]


async def done(tx: Transaction, destination: str, event_nids: Collection[int]) -> None:
    """The server has these events: take them out, with the transaction that brought them."""
    if event_nids:
        await tx.execute(
            "DELETE FROM outbox WHERE destination = $1 AND event_nid = ANY($2)", destination, list(event_nids)
        )
    await tx.execute("DELETE FROM unanswered_transactions WHERE destination = $1", destination)


async def keep_newest_per_room(tx: Transaction, destination: str) -> int:
    """Keep only the newest queued event of each room; returns how many were dropped.

    The newest event refers to the ones before it, so the server can fetch what it missed itself.
    """
    return await tx.execute(
        "DELETE FROM outbox WHERE destination = $1 AND event_nid NOT IN ("
        " SELECT MAX(o.event_nid) FROM outbox o JOIN events e ON e.event_nid = o.event_nid"
        " WHERE o.destination = $1 GROUP BY e.room_nid)",
        destination,
    )


async def unanswered(tx: Transaction, destination: str) -> Unanswered | None:
    """The transaction that the server has not answered, if there is one."""
    row = await tx.fetch_one(
        "SELECT transaction_id, event_nids, body FROM unanswered_transactions WHERE destination = $1",
        destination,
    )
    return Unanswered(row[0], tuple(json.loads(row[1])), bytes(row[2])) if row else None


async def keep_unanswered(tx: Transaction, destination: str, transaction: Unanswered) -> None:
    """Remember a transaction that was not answered, to repeat it after a restart too."""
    await tx.execute(
        "INSERT INTO unanswered_transactions (destination, transaction_id, event_nids, body) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (destination) DO UPDATE SET transaction_id = excluded.transaction_id,"
        " event_nids = excluded.event_nids, body = excluded.body",
        destination,
        transaction.transaction_id,
        json.dumps(transaction.event_nids),
        transaction.body,
    )
