"""Registration tokens: who has one may register, as often as it allows.

Spec: https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Row, Transaction

_COLUMNS = "token, uses_allowed, completed, expiry_ts"


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """uses_allowed: how often it may be used, None without limit; completed: how often it was; expiry_ts: ms since 1970 or None."""

    token: str
    uses_allowed: int | None
    completed: int
    expiry_ts: int | None


def _token(row: Row) -> RegistrationToken:
    return RegistrationToken(row[0], row[1], row[2], row[3])


async def add(tx: Transaction, token: RegistrationToken) -> bool:
    """Store a token. Returns False, and stores nothing, when there is one of this name."""
    added = await tx.execute(
        f"INSERT INTO registration_tokens ({_COLUMNS}) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        token.token,
        token.uses_allowed,
        token.completed,
        token.expiry_ts,
    )
    return added == 1


async def get(tx: Transaction, token: str) -> RegistrationToken | None:
    """The token of this name."""
    row = await tx.fetch_one(f"SELECT {_COLUMNS} FROM registration_tokens WHERE token = $1", token)
    return None if row is None else _token(row)


async def get_all(tx: Transaction) -> list[RegistrationToken]:
    """All tokens, in the order of their names."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM registration_tokens ORDER BY token")
    return [_token(row) for row in rows]


async def limit(tx: Transaction, token: str, uses_allowed: int | None, expiry_ts: int | None) -> None:
    """Change the limits of a token."""
    await tx.execute(
        "UPDATE registration_tokens SET uses_allowed = $1, expiry_ts = $2 WHERE token = $3",
        uses_allowed,
        expiry_ts,
        token,
    )


async def use(tx: Transaction, token: str) -> bool:
    """Count a use. Returns False when there is no such token, or it allows no more uses."""
    used = await tx.execute(
        "UPDATE registration_tokens SET completed = completed + 1"
        " WHERE token = $1 AND (uses_allowed IS NULL OR completed < uses_allowed)",
        token,
    )
    return used == 1


async def remove(tx: Transaction, token: str) -> bool:
    """Forget a token. Returns whether there was one."""
    return await tx.execute("DELETE FROM registration_tokens WHERE token = $1", token) > 0
