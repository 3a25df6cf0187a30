"""What users have changed of the push rules.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class StoredRules:
    """changes: JSON. position: of the last change."""

    changes: bytes
    position: int


async def get(tx: Transaction, user_id: str) -> StoredRules | None:
    """What a user has changed; None: nothing ever."""
    return (await get_many(tx, (user_id,))).get(user_id)


async def get_many(tx: Transaction, user_ids: Collection[str]) -> dict[str, StoredRules]:
    """What several users have changed; those who never did are left out."""
    rows = await tx.fetch(
        "SELECT user_id, changes, position FROM push_rules WHERE user_id = ANY($1)", list(user_ids)
    )
    return {row[0]: StoredRules(bytes(row[1]), row[2]) for row in rows}


async def changed_at(tx: Transaction, user_id: str) -> int | None:
    """The position of a user's last change."""
    position: int | None = await tx.fetch_value("SELECT position FROM push_rules WHERE user_id = $1", user_id)
    return position


async def put(tx: Transaction, user_id: str, stored: StoredRules) -> None:
    """Keep what a user has changed, in place of what there was."""
    await tx.execute(
        "INSERT INTO push_rules (user_id, changes, position) VALUES ($1, $2, $3)"
        " ON CONFLICT (user_id) DO UPDATE SET changes = excluded.changes, position = excluded.position",
        user_id,
        stored.changes,
        stored.position,
    )


async def preferences_changed(tx: Transaction, after: int) -> list[str]:
    """The users who have changed later than a position what decides on their notifications: rules, or whom they ignore."""
    rows = await tx.fetch(
        "SELECT user_id FROM push_rules WHERE position > $1"
        " UNION SELECT user_id FROM account_data WHERE type = 'm.ignored_user_list' AND position > $1",
        after,
    )
    return [row[0] for row in rows]


async def remove(tx: Transaction, user_id: str) -> None:
    """Forget what a user has changed."""
    await tx.execute("DELETE FROM push_rules WHERE user_id = $1", user_id)
