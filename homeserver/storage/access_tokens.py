"""Access tokens, and the devices they belong to.

Spec: https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Who an access token belongs to."""

    token_id: int
    user_id: str
    device_id: str | None
    is_guest: bool
    is_admin: bool


async def add(
    tx: Transaction, token_hash: bytes, user_id: str, device_id: str | None, created_ts: int
) -> int:
    """Store a token by its hash; returns its number."""
    token_id: int = await tx.fetch_value(
        "INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts) VALUES ($1, $2, $3, $4)"
        " RETURNING token_id",
        token_hash,
        user_id,
        device_id,
        created_ts,
    )
    return token_id


async def owner(tx: Transaction, token_hash: bytes) -> TokenOwner | None:
    """Who the token with this hash belongs to; None when it is unknown or its account is deactivated."""
    row = await tx.fetch_one(
        "SELECT t.token_id, t.user_id, t.device_id, u.is_guest, u.is_admin"
        " FROM access_tokens t JOIN users u ON u.user_id = t.user_id"
        " WHERE t.token_hash = $1 AND NOT u.is_deactivated",
        token_hash,
    )
    return None if row is None else TokenOwner(row[0], row[1], row[2], bool(row[3]), bool(row[4]))


async def remove(tx: Transaction, token_id: int) -> None:
    """Forget one token."""
    await tx.execute("DELETE FROM access_tokens WHERE token_id = $1", token_id)


async def remove_of_device(tx: Transaction, user_id: str, device_id: str) -> None:
    """Forget all tokens of a device."""
    await tx.execute("DELETE FROM access_tokens WHERE user_id = $1 AND device_id = $2", user_id, device_id)


async def remove_of_user(tx: Transaction, user_id: str) -> None:
    """Forget all tokens of a user."""
    await tx.execute("DELETE FROM access_tokens WHERE user_id = $1", user_id)


async def ensure_device(tx: Transaction, user_id: str, device_id: str, display_name: str | None) -> None:
    """Store a device unless it is known; a known one keeps its display name."""
    await tx.execute(
        "INSERT INTO devices (user_id, device_id, display_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        user_id,
        device_id,
        display_name,
    )


async def device_names(tx: Transaction, user_id: str) -> dict[str, str | None]:
    """The user's devices with their display names."""
    rows = await tx.fetch(
        "SELECT device_id, display_name FROM devices WHERE user_id = $1 ORDER BY device_id", user_id
    )
    return {row[0]: row[1] for row in rows}


async def remove_device(tx: Transaction, user_id: str, device_id: str) -> None:
    """Forget a device and its tokens."""
    await remove_of_device(tx, user_id, device_id)
    await tx.execute("DELETE FROM devices WHERE user_id = $1 AND device_id = $2", user_id, device_id)


async def remove_devices(tx: Transaction, user_id: str) -> None:
    """Forget all devices and tokens of a user."""
    await remove_of_user(tx, user_id)
    await tx.execute("DELETE FROM devices WHERE user_id = $1", user_id)
