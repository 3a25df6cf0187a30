"""How long it is remembered what was sent with which transaction ID: not for ever, and not longer than its device.

What is remembered is written and read with the events, in `storage/events.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.storage.database import Transaction


async def device_gone(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """What these devices have sent is to be forgotten: a device of the same name is another."""
    await tx.execute_many(
        "INSERT INTO gone_senders (user_id, device_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        [(user_id, device_id) for device_id in device_ids],
    )


async def trim(tx: Transaction, before_ms: int, limit: int) -> bool:
    """Forget at most `limit` transaction IDs: of a device that is gone, or else older than a time. Whether there may be more."""
    gone = await tx.fetch_one("SELECT user_id, device_id FROM gone_senders LIMIT 1")
    if gone is None:
        return await _forget(tx, "sent_ms < $1", before_ms, limit=limit) == limit
    user_id, device_id = gone
    if await _forget(tx, "user_id = $1 AND device_id = $2", user_id, device_id, limit=limit) < limit:
        await tx.execute("DELETE FROM gone_senders WHERE user_id = $1 AND device_id = $2", user_id, device_id)
    return True


async def _forget(tx: Transaction, condition: str, *args: str | int, limit: int) -> int:
    return await tx.execute(
        "DELETE FROM sent_events WHERE (user_id, device_id, endpoint, transaction_id) IN ("
        f"SELECT user_id, device_id, endpoint, transaction_id FROM sent_events WHERE {condition} LIMIT ${len(args) + 1})",
        *args,
        limit,
    )
