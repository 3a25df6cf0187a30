"""The answers we gave to transactions, so that one that is sent again gets the same answer and is not worked on twice.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from homeserver.storage.database import Transaction


async def answer(tx: Transaction, origin: str, transaction_id: str) -> bytes | None:
    """The JSON that this transaction of `origin` was answered with; None when it is new."""
    response = await tx.fetch_value(
        "SELECT response FROM inbound_transactions WHERE origin = $1 AND transaction_id = $2",
        origin,
        transaction_id,
    )
    return bytes(response) if response is not None else None


async def record(
    tx: Transaction, origin: str, transaction_id: str, response: bytes, *, now_ms: int, keep_ms: int
) -> None:
    """Keep an answer for `keep_ms` milliseconds, and drop those that were kept long enough."""
    await tx.execute("DELETE FROM inbound_transactions WHERE received_ms < $1", now_ms - keep_ms)
    await tx.execute(
        "INSERT INTO inbound_transactions (origin, transaction_id, received_ms, response) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        origin,
        transaction_id,
        now_ms,
        response,
    )
