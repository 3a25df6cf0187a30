"""Pushers: where users want notifications to be pushed to.

A pusher lives as long as the device that set it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Pusher:
    """What a client has set. data: as it was given, with `url`. set_ms: when, in milliseconds."""

    user_id: str
    app_id: str
    pushkey: str
    kind: str
    app_display_name: str
    device_display_name: str
    profile_tag: str | None
    lang: str
    data: Mapping[str, Any]
    device_id: str | None
    set_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What a pusher has been told. position: up to which. badge: the number that was told last, None for none.

    failures: in a row; failing_since, retry_at: in milliseconds, None where there were none.
    """

    position: int
    badge: int | None = None
    failures: int = 0
    failing_since: int | None = None
    retry_at: int | None = None


@dataclass(frozen=True, slots=True)
class StoredPusher:
    """A pusher with its number and what it has been told."""

    pusher_id: int
    pusher: Pusher
    progress: Progress


_COLUMNS = (
    "p.pusher_id, p.user_id, p.app_id, p.pushkey, p.kind, p.app_display_name, p.device_display_name, p.profile_tag, p.lang,"
    " p.data, p.device_id, p.set_ms, p.position, p.badge, p.failures, p.failing_since, p.retry_at"
)


def _stored(row: Row) -> StoredPusher:
    pusher = Pusher(
        row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], json.loads(row[9]), row[10], row[11]
    )
    return StoredPusher(row[0], pusher, Progress(row[12], row[13], row[14], row[15], row[16]))


async def put(tx: Transaction, pusher: Pusher, position: int) -> int:
    """Set a pusher; returns its number. A new one begins at a position; one that is set again goes on, and is tried at once."""
    pusher_id: int = await tx.fetch_value(
        "INSERT INTO pushers (user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data,"
        " device_id, set_ms, position, failures) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)"
        " ON CONFLICT (app_id, pushkey, user_id) DO UPDATE SET kind = excluded.kind,"
        " app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,"
        " profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, device_id = excluded.device_id,"
        " set_ms = excluded.set_ms, failures = 0, failing_since = NULL, retry_at = NULL RETURNING pusher_id",
        pusher.user_id,
        pusher.app_id,
        pusher.pushkey,
        pusher.kind,
        pusher.app_display_name,
        pusher.device_display_name,
        pusher.profile_tag,
        pusher.lang,
        json.dumps(pusher.data, separators=(",", ":")),
        pusher.device_id,
        pusher.set_ms,
        position,
    )
    return pusher_id


async def of_user(tx: Transaction, user_id: str) -> list[StoredPusher]:
    """The pushers of a user, in the order in which they were first set."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM pushers p WHERE p.user_id = $1 ORDER BY p.pusher_id", user_id
    )
    return [_stored(row) for row in rows]


async def get(tx: Transaction, pusher_id: int) -> StoredPusher | None:
    """A pusher by its number."""
    row = await tx.fetch_one(f"SELECT {_COLUMNS} FROM pushers p WHERE p.pusher_id = $1", pusher_id)
    return _stored(row) if row else None


async def every(tx: Transaction) -> list[tuple[int, str, int | None]]:
    """The number of each pusher, its user, and when to try it again if it fails."""
    rows = await tx.fetch("SELECT pusher_id, user_id, retry_at FROM pushers")
    return [(row[0], row[1], row[2]) for row in rows]


async def remove(tx: Transaction, user_id: str, app_id: str, pushkey: str) -> int | None:
    """Forget a pusher; returns its number, None when there was none."""
    pusher_id: int | None = await tx.fetch_value(
        "DELETE FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 RETURNING pusher_id",
        user_id,
        app_id,
        pushkey,
    )
    return pusher_id


async def remove_of_others(tx: Transaction, user_id: str, app_id: str, pushkey: str) -> None:
    """Forget the pushers with this app ID and pushkey of all users but one: the device has changed hands."""
    await tx.execute(
        "DELETE FROM pushers WHERE user_id <> $1 AND app_id = $2 AND pushkey = $3", user_id, app_id, pushkey
    )


async def remove_of_devices(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Forget the pushers that some devices of a user have set."""
    await tx.execute(
        "DELETE FROM pushers WHERE user_id = $1 AND device_id = ANY($2)", user_id, list(device_ids)
    )


async def set_progress(tx: Transaction, pusher_id: int, progress: Progress) -> None:
    """Keep what a pusher has been told."""
    await tx.execute(
        "UPDATE pushers SET position = $1, badge = $2, failures = $3, failing_since = $4, retry_at = $5"
        " WHERE pusher_id = $6",
        progress.position,
        progress.badge,
        progress.failures,
        progress.failing_since,
        progress.retry_at,
        pusher_id,
    )
