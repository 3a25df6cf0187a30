"""Whose rooms are still to be told of a new display name or avatar, and how far that has come.

Spec: https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Propagation:
    """change: the number of the newest change. after_room_nid: the rooms up to this number have been told."""

    user_id: str
    change: int
    after_room_nid: int


async def begin(tx: Transaction, user_id: str) -> None:
    """A change of the profile: all rooms are to be told of it, also those that were told of an earlier one."""
    await tx.execute(
        "INSERT INTO profile_propagations (user_id, change, after_room_nid) VALUES ($1, 0, 0)"
        " ON CONFLICT (user_id) DO UPDATE SET change = profile_propagations.change + 1, after_room_nid = 0",
        user_id,
    )


async def pending(tx: Transaction, after_user_id: str, limit: int) -> list[Propagation]:
    """Some of those that are not done, by user ID, from the one after `after_user_id` on."""
    rows = await tx.fetch(
        "SELECT user_id, change, after_room_nid FROM profile_propagations WHERE user_id > $1"
        " ORDER BY user_id LIMIT $2",
        after_user_id,
        limit,
    )
    return [Propagation(row[0], row[1], row[2]) for row in rows]


async def advance(tx: Transaction, propagation: Propagation, room_nid: int) -> None:
    """The rooms up to this number have been told, if there was no other change meanwhile."""
    await tx.execute(
        "UPDATE profile_propagations SET after_room_nid = $1 WHERE user_id = $2 AND change = $3",
        room_nid,
        propagation.user_id,
        propagation.change,
    )


async def finish(tx: Transaction, propagation: Propagation) -> None:
    """All rooms have been told, if there was no other change meanwhile."""
    await tx.execute(
        "DELETE FROM profile_propagations WHERE user_id = $1 AND change = $2",
        propagation.user_id,
        propagation.change,
    )
