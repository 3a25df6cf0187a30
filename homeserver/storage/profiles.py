"""The profiles of our users: fields with a JSON value each.

Spec: https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from homeserver.storage.database import Transaction


async def get(tx: Transaction, user_id: str) -> dict[str, Any]:
    """The user's profile: field name to decoded value; empty when nothing was set."""
    rows = await tx.fetch("SELECT name, value FROM profile_fields WHERE user_id = $1", user_id)
    return {row[0]: json.loads(row[1]) for row in rows}


async def get_many(tx: Transaction, user_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The profiles of several users; those without any field are left out."""
    rows = await tx.fetch(
        "SELECT user_id, name, value FROM profile_fields WHERE user_id = ANY($1)", list(user_ids)
    )
    profiles: dict[str, dict[str, Any]] = {}
    for row in rows:
        profiles.setdefault(row[0], {})[row[1]] = json.loads(row[2])
    return profiles


async def set_field(tx: Transaction, user_id: str, name: str, value: bytes) -> None:
    """Set a field; `value` is JSON."""
    await tx.execute(
        "INSERT INTO profile_fields (user_id, name, value) VALUES ($1, $2, $3)"
        " ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value",
        user_id,
        name,
        value,
    )


async def remove_field(tx: Transaction, user_id: str, name: str) -> bool:
    """Remove a field. Returns whether it was there."""
    return await tx.execute("DELETE FROM profile_fields WHERE user_id = $1 AND name = $2", user_id, name) > 0


async def remove(tx: Transaction, user_id: str) -> None:
    """Remove all fields of a user."""
    await tx.execute("DELETE FROM profile_fields WHERE user_id = $1", user_id)
