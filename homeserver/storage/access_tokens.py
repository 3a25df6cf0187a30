"""Access tokens, and whom they belong to.

Spec: https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class NewToken:
    """An access token to store. valid_until_ts: ms since 1970, None for ever; refresh_token_id: of the one given out with it."""

    token_hash: bytes
    user_id: str
    device_id: str | None
    created_ts: int
    valid_until_ts: int | None = None
    refresh_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Who an access token belongs to. replaced_refresh_token_id: the refresh token that its first use puts out of use."""

    token_id: int
    user_id: str
    device_id: str | None
    is_guest: bool
    is_admin: bool
    is_locked: bool = False
    is_suspended: bool = False
    valid_until_ts: int | None = None
    refresh_token_id: int | None = None
    replaced_refresh_token_id: int | None = None


async def add(tx: Transaction, token: NewToken) -> int:
    """Store a token by its hash; returns its number."""
    token_id: int = await tx.fetch_value(
        "INSERT INTO access_tokens"
        " (token_hash, user_id, device_id, created_ts, valid_until_ts, refresh_token_id)"
        " VALUES ($1, $2, $3, $4, $5, $6) RETURNING token_id",
        token.token_hash,
        token.user_id,
        token.device_id,
        token.created_ts,
        token.valid_until_ts,
        token.refresh_token_id,
    )
    return token_id


async def owner(tx: Transaction, token_hash: bytes) -> TokenOwner | None:
    """Who the token with this hash belongs to; None when it is unknown or its account is deactivated."""
    row = await tx.fetch_one(
        "SELECT t.token_id, t.user_id, t.device_id, u.is_guest, u.is_admin, u.is_locked, u.is_suspended,"
        " t.valid_until_ts, t.refresh_token_id, r.replaces"
        " FROM access_tokens t JOIN users u ON u.user_id = t.user_id"
        " LEFT JOIN refresh_tokens r ON r.token_id = t.refresh_token_id"
        " WHERE t.token_hash = $1 AND NOT u.is_deactivated",
        token_hash,
    )
    if row is None:
        return None
    is_guest, is_admin, is_locked, is_suspended = (bool(row[column]) for column in (3, 4, 5, 6))
    return TokenOwner(
        row[0], row[1], row[2], is_guest, is_admin, is_locked, is_suspended, row[7], row[8], row[9]
    )


async def remove(tx: Transaction, token_id: int) -> None:
    """Forget one token."""
    await tx.execute("DELETE FROM access_tokens WHERE token_id = $1", token_id)


async def remove_of_refresh_token(tx: Transaction, refresh_token_id: int) -> None:
    """Forget the tokens that were given out with a refresh token."""
    await tx.execute("DELETE FROM access_tokens WHERE refresh_token_id = $1", refresh_token_id)


async def remove_of_device(tx: Transaction, user_id: str, device_id: str) -> None:
    """Forget all tokens of a device."""
    await tx.execute("DELETE FROM access_tokens WHERE user_id = $1 AND device_id = $2", user_id, device_id)


async def remove_of_user(tx: Transaction, user_id: str, *, but: int | None = None) -> None:
    """Forget all tokens of a user. but: the number of one that stays."""
    await tx.execute(
        "DELETE FROM access_tokens WHERE user_id = $1 AND token_id <> $2", user_id, -1 if but is None else but
    )
