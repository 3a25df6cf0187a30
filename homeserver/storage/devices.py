"""The devices of our users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Device:
    """A device, and when and from where it was last seen. last_seen_ts: ms since 1970; None when it never was."""

    device_id: str
    display_name: str | None
    last_seen_ts: int | None = None
    last_seen_ip: str | None = None
    last_seen_user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A request that a device has made. ts: ms since 1970."""

    user_id: str
    device_id: str
    ts: int
    ip: str
    user_agent: str | None


async def ensure(tx: Transaction, user_id: str, device_id: str, display_name: str | None) -> None:
    """Store a device unless it is known; a known one keeps its display name."""
    await tx.execute(
        "INSERT INTO devices (user_id, device_id, display_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        user_id,
        device_id,
        display_name,
    )


async def of_user(tx: Transaction, user_id: str) -> list[Device]:
    """All devices of a user, in the order of their IDs."""
    rows = await tx.fetch(
        "SELECT device_id, display_name, last_seen_ts, last_seen_ip, last_seen_user_agent"
        " FROM devices WHERE user_id = $1 ORDER BY device_id",
        user_id,
    )
    return [Device(*row) for row in rows]


async def rename(tx: Transaction, user_id: str, device_id: str, display_name: str) -> bool:
    """Give a device another name. Returns whether there is such a device."""
    changed = await tx.execute(
        "UPDATE devices SET display_name = $1 WHERE user_id = $2 AND device_id = $3",
        display_name,
        user_id,
        device_id,
    )
    return changed > 0


async def exists(tx: Transaction, user_id: str, device_id: str) -> bool:
    """Whether the user has this device."""
    row = await tx.fetch_one(
        "SELECT 1 FROM devices WHERE user_id = $1 AND device_id = $2", user_id, device_id
    )
    return row is not None


async def remove(tx: Transaction, user_id: str, device_ids: Collection[str]) -> None:
    """Forget devices, and all their tokens."""
    for table in ("access_tokens", "refresh_tokens", "devices"):
        await tx.execute(
            f"DELETE FROM {table} WHERE user_id = $1 AND device_id = ANY($2)", user_id, list(device_ids)
        )


async def seen(tx: Transaction, sightings: Iterable[Sighting]) -> None:
    """Note when and from where devices were last seen; those that are gone meanwhile are left out."""
    await tx.execute_many(
        "UPDATE devices SET last_seen_ts = $1, last_seen_ip = $2, last_seen_user_agent = $3"
        " WHERE user_id = $4 AND device_id = $5",
        [(each.ts, each.ip, each.user_agent, each.user_id, each.device_id) for each in sightings],
    )
