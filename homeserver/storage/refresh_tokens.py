"""Refresh tokens: each is replaced by the next one that was given out for it, as soon as that one is used.

Spec: https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token. expires_ts, session_expires_ts: ms since 1970, None for never; replaces: the number of the token before."""

    token_id: int
    user_id: str
    device_id: str
    expires_ts: int | None
    session_expires_ts: int | None
    replaces: int | None
    is_used: bool


async def add(
    tx: Transaction,
    token_hash: bytes,
    user_id: str,
    device_id: str,
    *,
    expires_ts: int | None,
    session_expires_ts: int | None,
    replaces: int | None = None,
) -> int:
    """Store a token by its hash; returns its number."""
    token_id: int = await tx.fetch_value(
        "INSERT INTO refresh_tokens (token_hash, user_id, device_id, expires_ts, session_expires_ts, replaces)"
        " VALUES ($1, $2, $3, $4, $5, $6) RETURNING token_id",
        token_hash,
        user_id,
        device_id,
        expires_ts,
        session_expires_ts,
        replaces,
    )
    return token_id


async def get(tx: Transaction, token_hash: bytes) -> RefreshToken | None:
    """The token with this hash."""
    row = await tx.fetch_one(
        "SELECT token_id, user_id, device_id, expires_ts, session_expires_ts, replaces, is_used"
        " FROM refresh_tokens WHERE token_hash = $1",
        token_hash,
    )
    return None if row is None else RefreshToken(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]))


async def replacements(tx: Transaction, token: RefreshToken) -> list[int]:
    """The numbers of the tokens that were given out for this one and not used yet."""
    rows = await tx.fetch(
        "SELECT token_id FROM refresh_tokens WHERE user_id = $1 AND device_id = $2 AND replaces = $3",
        token.user_id,
        token.device_id,
        token.token_id,
    )
    return [row[0] for row in rows]


async def remove(tx: Transaction, token_id: int) -> None:
    """Forget a token."""
    await tx.execute("DELETE FROM refresh_tokens WHERE token_id = $1", token_id)


async def take_over(tx: Transaction, user_id: str, device_id: str, token_id: int, replaced: int) -> None:
    """A token has been used: the one that it replaces is used up. Those used up before are forgotten."""
    await tx.execute(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = $2 AND is_used", user_id, device_id
    )
    await tx.execute("UPDATE refresh_tokens SET is_used = TRUE WHERE token_id = $1", replaced)
    await tx.execute("UPDATE refresh_tokens SET replaces = NULL WHERE token_id = $1", token_id)


async def remove_of_device(tx: Transaction, user_id: str, device_id: str) -> None:
    """Forget all tokens of a device."""
    await tx.execute("DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = $2", user_id, device_id)
