"""The filters that users have uploaded.

Spec: https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

from homeserver.storage.database import Transaction


async def put(tx: Transaction, user_id: str, filter_id: str, definition: bytes) -> None:
    """Store a filter's JSON under its ID; the same one again changes nothing."""
    await tx.execute(
        "INSERT INTO filters (user_id, filter_id, definition) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        user_id,
        filter_id,
        definition,
    )


async def get(tx: Transaction, user_id: str, filter_id: str) -> bytes | None:
    """The JSON of a user's filter."""
    definition: bytes | None = await tx.fetch_value(
        "SELECT definition FROM filters WHERE user_id = $1 AND filter_id = $2", user_id, filter_id
    )
    return definition


async def count(tx: Transaction, user_id: str) -> int:
    """How many filters a user has."""
    number: int = await tx.fetch_value("SELECT COUNT(*) FROM filters WHERE user_id = $1", user_id)
    return number


async def remove(tx: Transaction, user_id: str) -> None:
    """Forget a user's filters."""
    await tx.execute("DELETE FROM filters WHERE user_id = $1", user_id)
