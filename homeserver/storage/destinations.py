"""Servers that do not answer: since when, why, and when they are tried again. Those that answer have no row."""

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Failing:
    """A server that does not answer. Times are milliseconds; `failures` counts those in a row; `reason` is the last one's."""

    destination: str
    failing_since: int
    failures: int
    retry_at: int
    reason: str


async def failing(tx: Transaction) -> list[Failing]:
    """All servers that do not answer, by name."""
    rows = await tx.fetch(
        "SELECT destination, failing_since, failures, retry_at, reason FROM destinations ORDER BY destination"
    )
    return [Failing(row[0], row[1], row[2], row[3], row[4]) for row in rows]


async def get(tx: Transaction, destination: str) -> Failing | None:
    """What is wrong with a server; None when nothing is."""
    row = await tx.fetch_one(
        "SELECT destination, failing_since, failures, retry_at, reason FROM destinations WHERE destination = $1",
        destination,
    )
    return Failing(row[0], row[1], row[2], row[3], row[4]) if row else None


async def set_failing(tx: Transaction, failing: Failing) -> None:
    """Note a failure."""
    await tx.execute(
        "INSERT INTO destinations (destination, failing_since, failures, retry_at, reason) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (destination) DO UPDATE SET failing_since = excluded.failing_since,"
        " failures = excluded.failures, retry_at = excluded.retry_at, reason = excluded.reason",
        failing.destination,
        failing.failing_since,
        failing.failures,
        failing.retry_at,
        failing.reason,
    )


async def set_working(tx: Transaction, destination: str) -> None:
    """The server answers again."""
    await tx.execute("DELETE FROM destinations WHERE destination = $1", destination)
