"""Our users' accounts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.storage import user_directory
from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Account:
    """One user of ours. `created_ts` is in ms since 1970; `password_hash` None allows no login with a
    password.
    """

    user_id: str
    password_hash: str | None
    is_admin: bool
    is_guest: bool
    is_deactivated: bool
    user_type: str | None
    created_ts: int
    is_locked: bool = False
    is_suspended: bool = False


_COLUMNS = "user_id, password_hash, is_admin, is_guest, is_deactivated, user_type, created_ts"


def _account(row: Row) -> Account:
    return Account(
        row[0], row[1], bool(row[2]), bool(row[3]), bool(row[4]), row[5], row[6], bool(row[7]), bool(row[8])
    )


async def add(tx: Transaction, account: Account) -> bool:
    """Store a new account. Returns False, and stores nothing, when the user ID is taken."""
    added = await tx.execute(
        f"INSERT INTO users ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        account.user_id,
        account.password_hash,
        account.is_admin,
        account.is_guest,
        account.is_deactivated,
        account.user_type,
        account.created_ts,
    )
    if added:
        await user_directory.users_changed(tx, [account.user_id])
    return added == 1


async def get(tx: Transaction, user_id: str) -> Account | None:
    """The account of a user ID, deactivated ones too."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS}, is_locked, is_suspended FROM users WHERE user_id = $1", user_id
    )
    return None if row is None else _account(row)


async def existing(tx: Transaction, user_ids: Collection[str]) -> set[str]:
    """Those of these user IDs that have an account here."""
    rows = await tx.fetch("SELECT user_id FROM users WHERE user_id = ANY($1)", list(user_ids))
    return {row[0] for row in rows}


async def set_password_hash(tx: Transaction, user_id: str, password_hash: str | None) -> None:
    """Replace the password's hash; None forbids logging in with a password."""
    await tx.execute("UPDATE users SET password_hash = $1 WHERE user_id = $2", password_hash, user_id)


async def set_locked(tx: Transaction, user_id: str, is_locked: bool) -> None:
    """Keep a user out, or no longer."""
    await tx.execute("UPDATE users SET is_locked = $1 WHERE user_id = $2", is_locked, user_id)


async def set_suspended(tx: Transaction, user_id: str, is_suspended: bool) -> None:
    """Keep a user from writing, or no longer."""
    await tx.execute("UPDATE users SET is_suspended = $1 WHERE user_id = $2", is_suspended, user_id)


async def end_guest(tx: Transaction, user_id: str, password_hash: str) -> bool:
    """Make a guest a user with a password. Returns False when there is no such guest."""
    changed = await tx.execute(
        "UPDATE users SET is_guest = FALSE, password_hash = $1"
        " WHERE user_id = $2 AND is_guest AND NOT is_deactivated",
        password_hash,
        user_id,
    )
    return changed == 1


async def deactivate(tx: Transaction, user_id: str) -> bool:
    """Let nobody log in any more; the user is to leave all rooms. Returns False when that has been done before."""
    changed = await tx.execute(
        "UPDATE users SET is_deactivated = TRUE, is_leaving = TRUE, password_hash = NULL"
        " WHERE user_id = $1 AND NOT is_deactivated",
        user_id,
    )
    return changed == 1


async def erase(tx: Transaction, user_id: str, position: int) -> None:
    """Show what the user sent redacted to whoever joins a room later than a position."""
    await tx.execute("UPDATE users SET erased_position = $1 WHERE user_id = $2", position, user_id)


async def leaving(tx: Transaction) -> list[str]:
    """The deactivated users who are not out of all rooms yet."""
    return [row[0] for row in await tx.fetch("SELECT user_id FROM users WHERE is_leaving ORDER BY user_id")]


async def has_left(tx: Transaction, user_id: str) -> None:
    """A deactivated user is out of all rooms."""
    await tx.execute("UPDATE users SET is_leaving = FALSE WHERE user_id = $1", user_id)


async def erased(tx: Transaction, user_ids: Collection[str]) -> dict[str, int]:
    """Those of these users whose events are shown redacted to whoever comes later, and from which position on."""
    rows = await tx.fetch(
        "SELECT user_id, erased_position FROM users WHERE erased_position IS NOT NULL AND user_id = ANY($1)",
        list(user_ids),
    )
    return {row[0]: row[1] for row in rows}
