"""Tokens that are good for one purpose and a short time: for logging in another client, for proving to others who one is."""

from __future__ import annotations

from typing import Literal

from homeserver.storage.database import Transaction

Purpose = Literal["login", "openid"]


async def add(
    tx: Transaction, purpose: Purpose, token_hash: bytes, user_id: str, *, expires_ts: int, now: int
) -> None:
    """Store a token by its hash; what has expired is forgotten."""
    await tx.execute("DELETE FROM expiring_tokens WHERE expires_ts <= $1", now)
    await tx.execute(
        "INSERT INTO expiring_tokens (token_hash, purpose, user_id, expires_ts) VALUES ($1, $2, $3, $4)",
        token_hash,
        purpose,
        user_id,
        expires_ts,
    )


async def owner(tx: Transaction, purpose: Purpose, token_hash: bytes, now: int) -> str | None:
    """Whose token this is; None when it is unknown or has expired."""
    user_id: str | None = await tx.fetch_value(
        "SELECT user_id FROM expiring_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_ts > $3",
        token_hash,
        purpose,
        now,
    )
    return user_id


async def take(tx: Transaction, purpose: Purpose, token_hash: bytes, now: int) -> str | None:
    """Whose token this was: it cannot be used again. None when it is unknown or has expired."""
    user_id: str | None = await tx.fetch_value(
        "DELETE FROM expiring_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_ts > $3"
        " RETURNING user_id",
        token_hash,
        purpose,
        now,
    )
    return user_id


async def remove_of_user(tx: Transaction, user_id: str) -> None:
    """Forget all of a user's tokens."""
    await tx.execute("DELETE FROM expiring_tokens WHERE user_id = $1", user_id)
