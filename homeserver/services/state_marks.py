"""What is looked at later because a room's state has changed: marked in the unit of work that changes it."""

from __future__ import annotations

from collections.abc import Collection

from homeserver.core.events import StateKey
from homeserver.core.visibility import GUEST_ACCESS, OPENNESS
from homeserver.storage import guest_rooms, user_directory
from homeserver.storage.database import Transaction


async def mark_changes(
    tx: Transaction, room_nid: int, changed: Collection[StateKey], *, has_ours: bool
) -> None:
    """Note that these entries of a room's current state are others now. has_ours: whether members of ours are among them."""
    if has_ours or not OPENNESS.isdisjoint(changed):
        await user_directory.room_changed(tx, room_nid)
    if GUEST_ACCESS in changed:
        await guest_rooms.mark(tx, room_nid)
